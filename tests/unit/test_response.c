/* test_response.c - what an application may say, what becomes of its body, and the pages of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/arena.h"
#include "server/http/response.h"

struct fixture {
    struct arena arena;
    struct response r;
};

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (!f) {
        return -1;
    }
    arena_init(&f->arena);
    response_init(&f->r, &f->arena);
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    response_finish(&f->r);
    arena_finish(&f->arena);
    free(f);
    return 0;
}

static struct response *response_of(void **state)
{
    struct fixture *f = *state;
    return &f->r;
}

static void start(struct response *r, const char *status)
{
    assert_int_equal(response_start(r, str_of(status)), RESPONSE_OK);
}

static enum response_error add(struct response *r, const char *name, const char *value)
{
    return response_add(r, str_of(name), str_of(value));
}

static void is_str(struct str s, const char *expected)
{
    if (!str_eq(s, str_of(expected))) {
        fail_msg("'%.*s' instead of '%s'", (int)s.len, s.p, expected);
    }
}

/* Pushes bytes whose release is counted in `released`. */

static void on_release(void *owner)
{
    ++*(int *)owner;
}

static void push(struct response *r, const char *text, int *released)
{
    struct chunk c = {.data = text, .len = strlen(text), .fd = -1, .release = on_release, .owner = released};
    assert_int_equal(response_push(r, &c), 0);
}

/* Takes the queue as a protocol does, and looks at what it has taken. */
static void takes(struct response *r, const char *expected)
{
    char got[2048];
    size_t n = 0;
    while (!chunkq_is_empty(&r->queue)) {
        struct chunk c = chunkq_pop(&r->queue);
        assert_true(c.len > 0 && n + c.len < sizeof(got));
        memcpy(got + n, c.data, c.len);
        n += c.len;
        chunk_release(&c);
    }
    got[n] = '\0';
    assert_int_equal(r->queue.bytes, 0);
    assert_string_equal(got, expected);
}

/* Head */

static void test_status_is_three_digits_and_a_reason(void **state)
{
    struct response *r = response_of(state);
    static const struct {
        const char *line;
        int status;
    } good[] = {{"200 OK", 200}, {"200 ", 200},  {"404 Not  Found", 404},
                {"599 x", 599},  {"999 x", 999}, {"200 caf\xe9", 200}};
    static const char *const bad[] = {
        "",       "2",       "20",       "200OK",         "20 OK",    "2000 OK",    " 200 OK",      "abc OK",
        "2x0 OK", "-20 OK",  "+200 OK",  "099 x",         "000 x",    "200\tOK",    "100 Continue", "101 Switching",
        "199 x",  "200 a\r", "200 a\nb", "200 a\r\nX: y", "200 \x7f", "\xb2 00 OK",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        start(r, good[i].line);
        assert_int_equal(r->status, good[i].status);
        is_str(r->status_line, good[i].line);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (response_start(r, str_of(bad[i])) != RESPONSE_BAD_STATUS) {
            fail_msg("'%s' was taken as a status", bad[i]);
        }
    }
    assert_int_equal(response_start(r, (struct str){"200 a\0b", 7}), RESPONSE_BAD_STATUS);
    start(r, "204");
    assert_int_equal(r->status, 204);
    is_str(r->status_line, "204 ");
}

static void test_bad_status_changes_nothing(void **state)
{
    struct response *r = response_of(state);
    assert_int_equal(response_start(r, STR("nonsense")), RESPONSE_BAD_STATUS);
    assert_int_equal(r->status, 0);
    start(r, "404 Not Found");
    assert_int_equal(add(r, "A", "b"), RESPONSE_OK);
    assert_int_equal(response_start(r, STR("nonsense")), RESPONSE_BAD_STATUS);
    is_str(r->status_line, "404 Not Found");
    is_str(r->block, "A: b\r\n");
}

static void test_headers_are_kept_as_they_go_out(void **state)
{
    struct response *r = response_of(state);
    char name[] = "Set-Cookie", value[] = "a=1";
    start(r, "200 OK");
    assert_int_equal(add(r, "content-type", "text/html"), RESPONSE_OK);
    assert_int_equal(add(r, name, value), RESPONSE_OK);
    memset(name, '!', sizeof(name) - 1); /* the text was copied */
    memset(value, '!', sizeof(value) - 1);
    assert_int_equal(add(r, "Set-Cookie", "b=2"), RESPONSE_OK);
    assert_int_equal(add(r, "X-Empty", ""), RESPONSE_OK);
    assert_int_equal(add(r, "X-Latin", "caf\xe9\t\xff"), RESPONSE_OK);
    is_str(r->block, "content-type: text/html\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Empty: \r\n"
                     "X-Latin: caf\xe9\t\xff\r\n");
    assert_int_equal(r->n_fields, 5);
    is_str(r->fields[2].name, "Set-Cookie");
    is_str(r->fields[2].value, "b=2");
}

static void test_blanks_around_a_value_are_no_part_of_it(void **state)
{
    struct response *r = response_of(state);
    start(r, "200 OK");
    assert_int_equal(add(r, "A", " \tb  c\t "), RESPONSE_OK);
    assert_int_equal(add(r, "Blank", " \t "), RESPONSE_OK);
    assert_int_equal(add(r, "Content-Length", " 2\t"), RESPONSE_OK);
    assert_int_equal(add(r, "Broken", "x\r\n "), RESPONSE_BAD_VALUE);
    assert_int_equal(add(r, "Broken", "\nx"), RESPONSE_BAD_VALUE);
    is_str(r->block, "A: b  c\r\nBlank: \r\n");
    is_str(r->fields[0].value, "b  c");
    assert_int_equal(r->content_length, 2);
}

static void test_many_and_long_headers_keep_their_text(void **state)
{
    struct response *r = response_of(state);
    char value[2000], name[16];
    start(r, "200 OK");
    for (size_t i = 0; i < 200; i++) {
        memset(value, 'a' + (char)(i % 26), i * 10);
        value[i * 10] = '\0';
        snprintf(name, sizeof(name), "X-%zu", i);
        assert_int_equal(add(r, name, value), RESPONSE_OK);
    }
    const char *p = r->block.p;
    for (size_t i = 0; i < 200; i++) {
        snprintf(name, sizeof(name), "X-%zu", i);
        is_str(r->fields[i].name, name);
        assert_int_equal(r->fields[i].value.len, i * 10);
        assert_memory_equal(p, name, strlen(name));
        p += strlen(name) + 2;
        for (size_t k = 0; k < i * 10; k++) {
            assert_int_equal(r->fields[i].value.p[k], 'a' + (int)(i % 26));
            assert_int_equal(p[k], 'a' + (int)(i % 26));
        }
        p += i * 10;
        assert_memory_equal(p, "\r\n", 2);
        p += 2;
    }
    assert_ptr_equal(p, r->block.p + r->block.len);
}

static void test_bad_names_and_values_are_refused(void **state)
{
    struct response *r = response_of(state);
    static const struct {
        const char *name, *value;
        enum response_error error;
    } table[] = {
        {"", "x", RESPONSE_BAD_NAME},           {"A B", "x", RESPONSE_BAD_NAME},
        {"A:", "x", RESPONSE_BAD_NAME},         {"A\r\nB", "x", RESPONSE_BAD_NAME},
        {"caf\xe9", "x", RESPONSE_BAD_NAME},    {" A", "x", RESPONSE_BAD_NAME},
        {"A", "x\r\nB: y", RESPONSE_BAD_VALUE}, {"A", "x\n y", RESPONSE_BAD_VALUE},
        {"A", "x\r", RESPONSE_BAD_VALUE},       {"A", "\x01", RESPONSE_BAD_VALUE},
        {"A", "\x7f", RESPONSE_BAD_VALUE},      {"Content-Type", "a\nb", RESPONSE_BAD_VALUE},
    };
    start(r, "200 OK");
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (add(r, table[i].name, table[i].value) != table[i].error) {
            fail_msg("'%s: %s' was not refused as it should be", table[i].name, table[i].value);
        }
    }
    assert_int_equal(response_add(r, STR("A"), (struct str){"x\0y", 3}), RESPONSE_BAD_VALUE);
    assert_int_equal(r->block.len, 0);
    assert_int_equal(r->n_fields, 0);
}

static void test_hop_by_hop_headers_are_the_servers(void **state)
{
    struct response *r = response_of(state);
    static const char *const names[] = {
        "Connection",        "keep-alive", "PROXY-AUTHENTICATE", "Proxy-Authorization", "TE", "Trailer", "Trailers",
        "Transfer-Encoding", "Upgrade",
    };
    start(r, "200 OK");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(add(r, names[i], "x"), RESPONSE_HOP_BY_HOP);
    }
    assert_int_equal(add(r, "Server", "x"), RESPONSE_OURS);
    assert_int_equal(add(r, "Date", "x"), RESPONSE_OURS);
    assert_int_equal(r->block.len, 0);
    assert_int_equal(add(r, "X-Connection", "x"), RESPONSE_OK);
}

static void test_content_length_is_one_plain_number(void **state)
{
    struct response *r = response_of(state);
    static const char *const bad[] = {"", "-1", "+1", "1 1", " ", "1,1", "1.0", "0x1", "one", "9999999999999999999"};
    start(r, "200 OK");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(add(r, "Content-Length", bad[i]), RESPONSE_BAD_LENGTH);
        assert_int_equal(r->content_length, -1);
    }
    assert_int_equal(add(r, "CONTENT-length", "13"), RESPONSE_OK);
    assert_int_equal(add(r, "Content-Length", "13"), RESPONSE_OK);
    assert_int_equal(add(r, "Content-Length", "14"), RESPONSE_BAD_LENGTH);
    assert_int_equal(r->content_length, 13);
    assert_int_equal(r->block.len, 0); /* the protocol writes it */
    start(r, "200 OK");
    assert_int_equal(add(r, "Content-Length", "999999999999999999"), RESPONSE_OK);
    assert_int_equal(r->content_length, 999999999999999999);
}

static void test_starting_again_drops_all_fields(void **state)
{
    struct response *r = response_of(state);
    start(r, "204 No Content");
    assert_int_equal(add(r, "X-Old", "1"), RESPONSE_OK);
    assert_int_equal(add(r, "Content-Length", "5"), RESPONSE_OK);
    start(r, "500 Internal Server Error");
    assert_int_equal(r->status, 500);
    assert_false(r->no_body);
    assert_int_equal(r->content_length, -1);
    assert_int_equal(add(r, "X-New", "2"), RESPONSE_OK);
    is_str(r->block, "X-New: 2\r\n");
    assert_int_equal(r->n_fields, 1);
    is_str(r->fields[0].name, "X-New");
}

/* Body */

static void test_body_is_taken_in_order_and_released_once(void **state)
{
    struct response *r = response_of(state);
    int released = 0;
    start(r, "200 OK");
    push(r, "one ", &released);
    push(r, "two ", &released);
    push(r, "", &released);
    assert_int_equal(released, 1); /* nothing to send in it */
    assert_int_equal(r->queue.bytes, 8);
    takes(r, "one two ");
    push(r, "three", &released);
    takes(r, "three");
    assert_int_equal(released, 4);
    assert_int_equal(r->body_bytes, 13);
}

static void test_copied_bytes_are_the_callers_again(void **state)
{
    struct response *r = response_of(state);
    char text[] = "hello";
    start(r, "200 OK");
    assert_int_equal(response_push_copy(r, text, 5), 0);
    memset(text, '!', 5);
    takes(r, "hello");
}

static void test_body_is_cut_at_its_declared_length(void **state)
{
    struct response *r = response_of(state);
    int released = 0;
    start(r, "200 OK");
    assert_int_equal(add(r, "Content-Length", "7"), RESPONSE_OK);
    push(r, "12345", &released);
    push(r, "67890", &released);
    push(r, "abc", &released);
    assert_int_equal(released, 1);
    takes(r, "1234567");
    assert_int_equal(released, 3);
    assert_int_equal(r->body_bytes, 7);
    assert_int_equal(r->dropped_bytes, 6);
    response_end(r);
    assert_false(response_is_short(r));
}

static void test_file_is_cut_as_bytes_are(void **state)
{
    struct response *r = response_of(state);
    int released = 0;
    struct chunk file = {.len = 100, .fd = 7, .offset = 50, .release = on_release, .owner = &released};
    start(r, "200 OK");
    assert_int_equal(add(r, "Content-Length", "30"), RESPONSE_OK);
    assert_int_equal(response_push(r, &file), 0);
    struct chunk c = chunkq_pop(&r->queue);
    assert_int_equal(c.len, 30);
    assert_int_equal(c.fd, 7);
    assert_int_equal(c.offset, 50);
    assert_int_equal(released, 0);
    assert_int_equal(r->dropped_bytes, 70);
}

static void test_short_body_is_known_at_its_end(void **state)
{
    struct response *r = response_of(state);
    start(r, "200 OK");
    assert_int_equal(add(r, "Content-Length", "7"), RESPONSE_OK);
    assert_int_equal(response_push_copy(r, "123456", 6), 0);
    assert_false(response_is_short(r)); /* more may come */
    response_end(r);
    assert_true(response_is_short(r));
}

static void test_length_is_found_when_all_is_there_before_the_head_goes(void **state)
{
    struct response *r = response_of(state);
    start(r, "200 OK");
    assert_int_equal(response_push_copy(r, "hello", 5), 0);
    assert_int_equal(response_push_copy(r, " you", 4), 0);
    response_end(r);
    assert_int_equal(r->content_length, 9);
    assert_true(r->finished);
    assert_false(response_is_short(r));
}

static void test_empty_body_has_length_nought(void **state)
{
    struct response *r = response_of(state);
    start(r, "200 OK");
    response_end(r);
    assert_int_equal(r->content_length, 0);
}

static void test_length_stays_unknown_once_the_head_is_gone(void **state)
{
    struct response *r = response_of(state);
    start(r, "200 OK");
    assert_int_equal(response_push_copy(r, "hello", 5), 0);
    r->head_sent = true;
    response_end(r);
    assert_int_equal(r->content_length, -1);
    assert_false(response_is_short(r));
}

static void test_answers_without_a_body_release_what_they_are_given(void **state)
{
    struct response *r = response_of(state);
    static const struct {
        const char *status;
        bool to_head;
    } table[] = {{"204 No Content", false}, {"304 Not Modified", false}, {"200 OK", true}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        int released = 0;
        r->to_head = table[i].to_head;
        start(r, table[i].status);
        assert_true(r->no_body);
        push(r, "text", &released);
        assert_int_equal(released, 1);
        assert_true(chunkq_is_empty(&r->queue));
    }
}

static void test_length_of_a_body_that_is_not_sent_is_still_told(void **state)
{
    struct response *r = response_of(state);
    r->to_head = true;
    start(r, "200 OK");
    assert_int_equal(response_push_copy(r, "hello", 5), 0);
    response_end(r);
    assert_int_equal(r->content_length, 5);

    response_init(r, r->arena);
    r->to_head = true;
    start(r, "200 OK");
    assert_int_equal(add(r, "Content-Length", "1000"), RESPONSE_OK);
    response_end(r);
    assert_int_equal(r->content_length, 1000);
    assert_false(response_is_short(r)); /* nothing has to follow */

    response_init(r, r->arena);
    r->to_head = true;
    start(r, "200 OK");
    response_end(r);
    assert_int_equal(r->content_length, -1); /* GET might have had a body: nothing is known of its length */
}

static void test_queue_stays_small_while_pieces_come_and_go(void **state)
{
    struct response *r = response_of(state);
    static int released; /* the queue may outlive this call, when it fails */
    start(r, "200 OK");
    push(r, "x", &released);
    for (int i = 0; i < 100000; i++) { /* a client that is always one piece behind */
        push(r, "x", &released);
        struct chunk c = chunkq_pop(&r->queue);
        chunk_release(&c);
    }
    assert_int_equal(r->queue.bytes, 1);
    assert_true(r->queue.cap <= 64);
}

static void test_finish_releases_what_nobody_took(void **state)
{
    struct response *r = response_of(state);
    int released = 0;
    start(r, "200 OK");
    for (int i = 0; i < 20; i++) {
        push(r, "text", &released);
    }
    struct chunk c = chunkq_pop(&r->queue);
    response_finish(r);
    assert_int_equal(released, 19);
    chunk_release(&c);
    response_finish(r);
    assert_int_equal(released, 20);
}

/* Our own answers */

static void test_refusal_is_a_page_with_its_length(void **state)
{
    struct response *r = response_of(state);
    static const struct {
        int status;
        const char *line;
    } table[] = {
        {400, "400 Bad Request"},
        {408, "408 Request Timeout"},
        {413, "413 Content Too Large"},
        {414, "414 URI Too Long"},
        {417, "417 Expectation Failed"},
        {431, "431 Request Header Fields Too Large"},
        {500, "500 Internal Server Error"},
        {501, "501 Not Implemented"},
        {503, "503 Service Unavailable"},
        {504, "504 Gateway Timeout"},
        {505, "505 HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        response_init(r, r->arena);
        assert_int_equal(response_refuse(r, table[i].status, "Because of this"), 0);
        assert_int_equal(r->status, table[i].status);
        is_str(r->status_line, table[i].line);
        is_str(r->block, "Content-Type: text/html; charset=utf-8\r\n");
        assert_true(r->finished);
        assert_int_equal(r->content_length, r->queue.bytes);
        struct chunk c = chunkq_pop(&r->queue);
        assert_true(chunkq_is_empty(&r->queue));
        assert_non_null(memmem(c.data, c.len, "<p>Because of this</p>", 22));
        assert_non_null(memmem(c.data, c.len, table[i].line, strlen(table[i].line)));
        chunk_release(&c);
    }
}

static void test_refusal_replaces_what_was_there(void **state)
{
    struct response *r = response_of(state);
    int released = 0;
    start(r, "304 Not Modified");
    start(r, "200 OK");
    assert_int_equal(add(r, "Content-Length", "3"), RESPONSE_OK);
    assert_int_equal(add(r, "X-Old", "1"), RESPONSE_OK);
    push(r, "12345", &released);
    response_end(r);
    assert_int_equal(response_refuse(r, 500, "Sorry"), 0);
    assert_int_equal(released, 1);
    assert_int_equal(r->n_fields, 1);
    assert_int_equal(r->body_bytes, r->queue.bytes);
    assert_int_equal(r->content_length, r->queue.bytes);
    assert_int_equal(r->dropped_bytes, 0);
    assert_false(response_is_short(r));
}

static void test_refusal_of_a_head_request_has_no_body(void **state)
{
    struct response *r = response_of(state);
    r->to_head = true;
    assert_int_equal(response_refuse(r, 400, "Sorry"), 0);
    assert_true(chunkq_is_empty(&r->queue));
    assert_true(r->content_length > 0);
}

static void test_hints_are_whole_or_not_there(void **state)
{
    struct response *r = response_of(state);
    size_t bad = 9;
    const struct field good[] = {{STR("Link"), STR("</a>")}, {STR("X-Empty"), STR("")}};
    const struct field name[] = {{STR("Link"), STR("</b>")}, {STR("a b"), STR("x")}};
    const struct field value[] = {{STR("Link"), STR("x\r\ny")}};
    assert_false(response_has_output(r));
    assert_int_equal(response_hint(r, good, 2, &bad), RESPONSE_OK);
    assert_int_equal(response_hint(r, name, 2, &bad), RESPONSE_BAD_NAME);
    assert_int_equal(bad, 1);
    assert_int_equal(response_hint(r, value, 1, &bad), RESPONSE_BAD_VALUE);
    assert_int_equal(bad, 0);
    assert_int_equal(response_hint(r, good, 1, &bad), RESPONSE_OK);
    assert_true(response_has_output(r));
    static const char EXPECTED[] = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nX-Empty: \r\n\r\n"
                                   "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_int_equal(r->hints.len, sizeof(EXPECTED) - 1);
    assert_memory_equal(r->hints.p, EXPECTED, sizeof(EXPECTED) - 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_status_is_three_digits_and_a_reason),
        TEST(test_bad_status_changes_nothing),
        TEST(test_headers_are_kept_as_they_go_out),
        TEST(test_blanks_around_a_value_are_no_part_of_it),
        TEST(test_many_and_long_headers_keep_their_text),
        TEST(test_bad_names_and_values_are_refused),
        TEST(test_hop_by_hop_headers_are_the_servers),
        TEST(test_content_length_is_one_plain_number),
        TEST(test_starting_again_drops_all_fields),
        TEST(test_body_is_taken_in_order_and_released_once),
        TEST(test_copied_bytes_are_the_callers_again),
        TEST(test_body_is_cut_at_its_declared_length),
        TEST(test_file_is_cut_as_bytes_are),
        TEST(test_short_body_is_known_at_its_end),
        TEST(test_length_is_found_when_all_is_there_before_the_head_goes),
        TEST(test_empty_body_has_length_nought),
        TEST(test_length_stays_unknown_once_the_head_is_gone),
        TEST(test_answers_without_a_body_release_what_they_are_given),
        TEST(test_length_of_a_body_that_is_not_sent_is_still_told),
        TEST(test_queue_stays_small_while_pieces_come_and_go),
        TEST(test_finish_releases_what_nobody_took),
        TEST(test_refusal_is_a_page_with_its_length),
        TEST(test_refusal_replaces_what_was_there),
        TEST(test_refusal_of_a_head_request_has_no_body),
        TEST(test_hints_are_whole_or_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

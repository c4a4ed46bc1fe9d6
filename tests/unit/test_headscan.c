/* test_headscan.c - which heads are let through to the parser, however the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/http/headscan.h"
#include "server/http/request.h"

static const struct request_limits usual = {.line = 4094, .field_size = 8190, .fields = 100};
static const struct request_limits tight = {.line = 20, .field_size = 12, .fields = 3};

static unsigned seed; /* the same cuts in every run */

struct outcome {
    int status;
    bool complete;
    size_t used;
};

/* Feeds `text` in pieces of 1 to `most` bytes (of exactly `most` when it is 1 or more than the text). */
static struct outcome feed(struct str text, size_t most, const struct request_limits *limits)
{
    struct headscan scan = {0};
    struct outcome o = {0};
    const char *reason = NULL;
    while (o.used < text.len && !o.status && !scan.complete) {
        size_t left = text.len - o.used, used = SIZE_MAX;
        size_t piece = most > text.len ? left : 1 + (size_t)rand_r(&seed) % most;
        piece = piece < left ? piece : left;
        char *copy = malloc(piece); /* of just that size: reading past it would be noticed */
        assert_non_null(copy);
        memcpy(copy, text.p + o.used, piece);
        o.status = headscan_feed(&scan, copy, piece, limits, &used, &reason);
        free(copy);
        assert_true(used <= piece);
        assert_true(used == piece || scan.complete || o.status);
        o.used += used;
        if (o.status) {
            assert_non_null(reason);
            assert_true(reason[0] != '\0');
            return o;
        }
    }
    o.complete = scan.complete;
    return o;
}

/* However it is cut, `text` gives that outcome. `end`: how long the head is, 0 when it is refused or not complete. */
static void gives(struct str text, const struct request_limits *limits, int status, size_t end)
{
    seed = 1;
    for (int i = 0; i < 100; i++) {
        size_t most = i == 0 ? text.len + 1 : i == 1 ? 1 : 1 + (size_t)rand_r(&seed) % text.len;
        struct outcome o = feed(text, most, limits);
        if (o.status != status || o.complete != (end > 0) || (end > 0 && o.used != end)) {
            fail_msg("'%.*s', cut at %zu: status %d, complete %d, used %zu", (int)text.len, text.p, most, o.status,
                     o.complete, o.used);
        }
    }
}

static void accepts(struct str text)
{
    gives(text, &usual, 0, text.len);
}

static void refuses(struct str text)
{
    gives(text, &usual, 400, 0);
}

static void test_well_formed_heads_pass(void **state)
{
    (void)state;
    accepts(STR("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    accepts(STR("GET / HTTP/1.0\r\n\r\n"));
    accepts(STR("GET / HTTP/1.1\r\nA:\r\nB:\t x \t\r\nC: caf\xe9 \xff\x80\r\n\r\n"));
}

static void test_empty_lines_before_a_request_are_skipped(void **state)
{
    (void)state;
    accepts(STR("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")); /* RFC 9112 2.2 */
    accepts(STR("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"));
}

static void test_endless_empty_lines_are_refused(void **state)
{
    (void)state;
    struct headscan scan = {0};
    const char *reason = NULL;
    size_t used;
    int status = 0;
    for (int i = 0; i < 20000 && !status; i++) {
        status = headscan_feed(&scan, "\r\n", 2, &usual, &used, &reason);
    }
    assert_int_equal(status, 400); /* they are stored until the request comes: 40 KB of nothing */
}

static void test_bare_carriage_returns_and_line_feeds_are_refused(void **state)
{
    (void)state;
    refuses(STR("GET / HTTP/1.1\nHost: x\r\n\r\n"));
    refuses(STR("GET / HTTP/1.1\r\nHost: x\n\r\n"));
    refuses(STR("GET / HTTP/1.1\r\nHost: x\r\n\n"));
    refuses(STR("GET / HTTP/1.1\r\nHost: x\n\n"));
    refuses(STR("\nGET / HTTP/1.1\r\n\r\n"));
    refuses(STR("GET / HTTP/1.1\rHost: x\r\n\r\n"));
    refuses(STR("GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n"));
    refuses(STR("GET / HTTP/1.1\r\nHost: x\r\rA: b\r\n\r\n"));
    refuses(STR("GET / HTTP/1.1\r\nHost: x\r\r\n\r\n"));
    refuses(STR("GET / HTTP/1.1\r\nHost: x\r\n\r\r\n"));
    refuses(STR("GET / HTTP/1.1\r\nHost: x\r\n\rX"));
    refuses(STR("\rGET / HTTP/1.1\r\n\r\n"));
}

static void test_folded_lines_are_refused(void **state)
{
    (void)state;
    refuses(STR("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"));
    refuses(STR("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n"));
    refuses(STR("GET / HTTP/1.1\r\n Host: x\r\n\r\n"));
    refuses(STR("GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n"));
}

static void test_control_characters_are_refused_everywhere(void **state)
{
    (void)state;
    for (int c = 0; c < 0x80; c++) {
        if (c == '\t' || c == '\r' || c == '\n' || (c >= ' ' && c != 0x7f)) {
            continue;
        }
        static const char head[] = "GET /@ HTTP/1.1\r\nNa@me: val@ue\r\n\r\n";
        for (const char *at = strchr(head, '@'); at; at = strchr(at + 1, '@')) {
            char text[sizeof(head)];
            memcpy(text, head, sizeof(head));
            text[at - head] = (char)c;
            refuses((struct str){text, sizeof(head) - 1});
        }
    }
}

static void test_length_of_a_request_line_is_limited_to_the_byte(void **state)
{
    (void)state;
    gives(STR("GET /56789 HTTP/1.1\r\n\r\n"), &tight, 0, 23);
    gives(STR("GET /567890 HTTP/1.1\r\n\r\n"), &tight, 0, 24); /* 20 bytes: CR LF are not counted */
    gives(STR("GET /5678901 HTTP/1.1\r\n\r\n"), &tight, 414, 0);
    gives(STR("GET /56789012345678901234567890"), &tight, 414, 0); /* before its end is seen */
}

static void test_length_of_a_field_is_limited_to_the_byte(void **state)
{
    (void)state;
    gives(STR("GET / HTTP/1.1\r\nName: 789012\r\n\r\n"), &tight, 0, 32);
    gives(STR("GET / HTTP/1.1\r\nName: 7890123\r\n\r\n"), &tight, 431, 0);
    gives(STR("GET / HTTP/1.1\r\nA: b\r\nName: 7890123\r\n\r\n"), &tight, 431, 0);
    gives(STR("GET / HTTP/1.1\r\nName: 789012345678901234567890"), &tight, 431, 0);
}

static void test_number_of_fields_is_limited(void **state)
{
    (void)state;
    gives(STR("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), &tight, 0, 36);
    gives(STR("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n"), &tight, 431, 0);
}

static void test_usual_limits_take_a_hundred_fields(void **state)
{
    (void)state;
    for (int fields = 100; fields <= 101; fields++) {
        struct buf b = {0};
        assert_int_equal(buf_puts(&b, "GET / HTTP/1.1\r\n"), 0);
        for (int i = 0; i < fields; i++) {
            assert_int_equal(buf_printf(&b, "X-%d: y\r\n", i), 0);
        }
        assert_int_equal(buf_puts(&b, "\r\n"), 0);
        gives((struct str){b.data, b.len}, &usual, fields == 100 ? 0 : 431, fields == 100 ? b.len : 0);
        buf_finish(&b);
    }
}

static void test_first_wrong_byte_decides(void **state)
{
    (void)state;
    gives(STR("GET /567890123456789\x01"), &tight, 400, 0);
    gives(STR("GET / HTTP/1.1\r\nName: 7890123 \x01\r\n\r\n"), &tight, 431, 0);
    gives(STR("GET / HTTP/1.1\r\nName: 78901\x01 too long\r\n\r\n"), &tight, 400, 0);
    gives(STR("GET / HTTP/1.1\r\nName: 789012\rtoo long\r\n\r\n"), &tight, 400, 0);
    gives(STR("GET / HTTP/1.1\r\nName: 7890123\rtoo long\r\n\r\n"), &tight, 431, 0);
    gives(STR("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: \x01\r\n\r\n"), &tight, 431, 0);
    gives(STR("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n\x01: 4\r\n\r\n"), &tight, 400, 0);
}

static void test_nothing_is_taken_behind_what_is_too_long(void **state)
{
    (void)state;
    const struct str text = STR("GET /56789012345678901234567890");
    for (size_t most = 1; most <= text.len + 1; most++) {
        assert_int_equal(feed(text, most, &tight).used, 21);
    }
}

static void test_no_limit_is_no_limit(void **state)
{
    (void)state;
    const struct request_limits none = {.fields = 100};
    struct buf b = {0};
    assert_int_equal(buf_puts(&b, "GET /"), 0);
    assert_int_equal(buf_reserve(&b, 100000), 0);
    memset(b.data + b.len, 'x', 50000);
    b.len += 50000;
    assert_int_equal(buf_puts(&b, " HTTP/1.1\r\n\r\n"), 0);
    gives((struct str){b.data, b.len}, &none, 0, b.len);
    gives((struct str){b.data, b.len}, &usual, 414, 0);
    buf_finish(&b);
}

static void test_bytes_behind_the_head_are_not_looked_at(void **state)
{
    (void)state;
    gives(STR("POST / HTTP/1.1\r\nHost: x\r\n\r\n\0\n\r\r body"), &usual, 0, 28);
}

static void test_half_a_head_is_not_complete(void **state)
{
    (void)state;
    static const char head[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for (size_t len = 1; len < sizeof(head) - 1; len++) {
        gives((struct str){head, len}, &usual, 0, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_well_formed_heads_pass),
        cmocka_unit_test(test_empty_lines_before_a_request_are_skipped),
        cmocka_unit_test(test_endless_empty_lines_are_refused),
        cmocka_unit_test(test_bare_carriage_returns_and_line_feeds_are_refused),
        cmocka_unit_test(test_folded_lines_are_refused),
        cmocka_unit_test(test_control_characters_are_refused_everywhere),
        cmocka_unit_test(test_length_of_a_request_line_is_limited_to_the_byte),
        cmocka_unit_test(test_length_of_a_field_is_limited_to_the_byte),
        cmocka_unit_test(test_number_of_fields_is_limited),
        cmocka_unit_test(test_usual_limits_take_a_hundred_fields),
        cmocka_unit_test(test_first_wrong_byte_decides),
        cmocka_unit_test(test_nothing_is_taken_behind_what_is_too_long),
        cmocka_unit_test(test_no_limit_is_no_limit),
        cmocka_unit_test(test_bytes_behind_the_head_are_not_looked_at),
        cmocka_unit_test(test_half_a_head_is_not_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

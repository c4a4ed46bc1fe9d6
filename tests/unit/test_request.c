/* test_request.c - what is read out of a request head, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "server/http/request.h"

#define HOST "Host: example.org\n"

static const struct request_limits limits = {.body = 1000};

/* A head written as text: METHOD TARGET MAJOR.MINOR, then a field a line, its value without white space around it. */
struct head {
    struct request r;
    struct header headers[16];
};

static void parse(struct head *h, const char *text)
{
    memset(h, 0, sizeof(*h));
    struct request *r = &h->r;
    const char *end = strchr(text, '\n');
    assert_non_null(end);
    const char *target = strchr(text, ' ') + 1;
    const char *version = end - 3;
    r->method = (struct str){text, (size_t)(target - 1 - text)};
    r->target = (struct str){target, version > target ? (size_t)(version - 1 - target) : 0};
    r->major = (unsigned char)(version[0] - '0');
    r->minor = (unsigned char)(version[2] - '0');
    r->headers = h->headers;
    for (const char *line = end + 1; *line; line = end + 1) {
        end = strchr(line, '\n');
        const char *colon = strchr(line, ':');
        const char *value = colon[1] == ' ' ? colon + 2 : colon + 1;
        struct str name = {line, (size_t)(colon - line)};
        assert_true(r->n_headers < 16);
        r->headers[r->n_headers++] =
            (struct header){.name = name, .value = {value, (size_t)(end - value)}, .id = header_lookup(name)};
    }
}

static int check(struct head *h, const char *text, const struct request_limits *l)
{
    const char *reason = NULL;
    parse(h, text);
    int status = request_check(&h->r, l, &reason);
    if (status && (!reason || !reason[0] || strpbrk(reason, "\r\n<&"))) {
        fail_msg("%s: no reason that can be shown", text);
    }
    return status;
}

static void answers(const char *text, int status)
{
    struct head h;
    int got = check(&h, text, &limits);
    if (got != status) {
        fail_msg("%d instead of %d for:\n%s", got, status, text);
    }
}

/* Lookup */

static void test_known_names_are_found_in_any_case(void **state)
{
    (void)state;
    static const struct {
        enum header_id id;
        const char *name, *environ_key;
    } table[] = {
#define HEADER(id, name, environ_key) {HEADER_##id, name, environ_key},
#include "server/http/headers.def"
#undef HEADER
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char upper[64] = {0}, lower[64] = {0};
        for (size_t k = 0; table[i].name[k]; k++) {
            char c = table[i].name[k];
            upper[k] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c; /* whatever the locale's capitals are */
            lower[k] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        }
        assert_int_equal(header_lookup(str_of(table[i].name)), table[i].id);
        assert_int_equal(header_lookup(str_of(upper)), table[i].id);
        assert_int_equal(header_lookup(str_of(lower)), table[i].id);
        assert_string_equal(header_environ_key(table[i].id), table[i].environ_key);
    }
    assert_null(header_environ_key(HEADER_OTHER));
}

/* Each byte of each name, replaced by each other one: only the other case of a letter is the same name, and a known
 * name in its place is that one. */
static void test_every_letter_of_a_known_name_counts(void **state)
{
    (void)state;
    static const char *const names[] = {
#define HEADER(id, name, environ_key) name,
#include "server/http/headers.def"
#undef HEADER
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                char name[64];
                memcpy(name, names[i], len);
                name[at] = (char)c;
                unsigned expected = HEADER_OTHER;
                for (unsigned k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
                    if (str_ieq(str_of(names[k]), (struct str){name, len})) {
                        expected = k + 1;
                    }
                }
                assert_int_equal(header_lookup((struct str){name, len}), expected);
            }
        }
    }
}

static void test_environ_keys_follow_the_names(void **state)
{
    (void)state;
    for (unsigned id = 1; id < HEADER_COUNT; id++) {
        char name[64] = {0};
        const char *key = header_environ_key((enum header_id)id);
        key = strncmp(key, "HTTP_", 5) == 0 ? key + 5 : key;
        for (size_t k = 0; key[k]; k++) {
            name[k] = key[k] == '_' ? '-' : key[k];
        }
        assert_int_equal(header_lookup(str_of(name)), id);
    }
}

static void test_other_names_are_other(void **state)
{
    (void)state;
    static const char *const names[] = {"",     "x",     "hos",       "hosts",           "xost",
                                        "hxst", "ho\tt", "x-unknown", "content_length",  "content-lengthy",
                                        "-",    "t",     "tee",       "content-length ", "\xc8OST"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(header_lookup(str_of(names[i])), HEADER_OTHER);
    }
    assert_int_equal(header_lookup((struct str){"host\0", 5}), HEADER_OTHER);
}

static void test_first_of_several_headers_is_found(void **state)
{
    (void)state;
    struct head h;
    parse(&h, "GET / 1.1\nA: 1\nCookie: first\nCOOKIE: second\n");
    assert_memory_equal(request_header(&h.r, HEADER_COOKIE)->value.p, "first", 5);
    assert_null(request_header(&h.r, HEADER_HOST));
}

static void test_lists_are_read_token_by_token(void **state)
{
    (void)state;
    static const struct {
        const char *list, *tokens; /* each token ended by a bar */
    } table[] = {
        {"", ""},
        {" \t", ""},
        {",", ""},
        {"a", "a|"},
        {"a,b", "a|b|"},
        {" a , b ", "a|b|"},
        {",,a,,\t,b,,", "a|b|"},
        {"a b,c", "a b|c|"},
        {"\ta\t,\tb\t", "a|b|"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct str list = str_of(table[i].list), token;
        char got[32] = {0};
        while (request_next_token(&list, &token)) {
            size_t n = strlen(got);
            snprintf(got + n, sizeof(got) - n, "%.*s|", (int)token.len, token.p);
        }
        assert_string_equal(got, table[i].tokens);
    }
}

/* What is accepted */

static void is_str(struct str s, const char *expected)
{
    if (!str_eq(s, str_of(expected))) {
        fail_msg("'%.*s' instead of '%s'", (int)s.len, s.p, expected);
    }
}

static void test_targets_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *line, *path, *query, *host;
    } table[] = {
        {"GET / 1.1\n", "/", "", "example.org"},
        {"GET /a/b?c=d?e 1.1\n", "/a/b", "c=d?e", "example.org"},
        {"GET /a? 1.1\n", "/a", "", "example.org"},
        {"GET /a%2Fb%3Fc 1.1\n", "/a%2Fb%3Fc", "", "example.org"},
        {"GET //other.example/a 1.1\n", "//other.example/a", "", "example.org"},
        {"GET /http://x 1.1\n", "/http://x", "", "example.org"},
        {"OPTIONS * 1.1\n", "", "", "example.org"},
        {"GET http://a.example/b?c 1.1\n", "/b", "c", "a.example"}, /* RFC 9112 3.2.2: stronger than Host */
        {"GET HTTPS://a.example:81 1.1\n", "/", "", "a.example:81"},
        {"GET http://a.example?c 1.1\n", "/", "c", "a.example"},
        {"GET http://[::1]:80/ 1.1\n", "/", "", "[::1]:80"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct head h;
        char text[128];
        snprintf(text, sizeof(text), "%s" HOST, table[i].line);
        assert_int_equal(check(&h, text, &limits), 0);
        is_str(h.r.path, table[i].path);
        is_str(h.r.query, table[i].query);
        is_str(h.r.host, table[i].host);
    }
}

static void test_hosts_of_every_form_are_accepted(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "a",
        "example.org",
        "example.org:8080",
        "example.org:",
        "127.0.0.1:1",
        "a:65535",
        "[::1]",
        "[2001:db8::1]:443",
        "xn--4gbrim",
        "a_b.example",
        "a%20b",
        "a:00080",
        "",
        "[::]",
        "[::1]:",
        "[::ffff:192.0.2.1]",
    };
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        char text[128];
        struct head h;
        snprintf(text, sizeof(text), "GET / 1.1\nHost: %s\n", hosts[i]);
        answers(text, 0);
        check(&h, text, &limits);
        is_str(h.r.host, hosts[i]);
    }
}

static void test_http_1_0_needs_no_host(void **state)
{
    (void)state;
    struct head h;
    assert_int_equal(check(&h, "GET / 1.0\n", &limits), 0);
    is_str(h.r.host, "");
}

static void test_body_is_what_the_framing_says(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        int length;
        bool chunked;
    } table[] = {
        {"", -1, false},
        {"Content-Length: 0\n", 0, false},
        {"content-length: 00042\n", 42, false},
        {"Transfer-Encoding: chunked\n", -1, true},
        {"Transfer-Encoding: CHUNKED\n", -1, true},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char text[128];
        struct head h;
        snprintf(text, sizeof(text), "POST / 1.1\n" HOST "%s", table[i].fields);
        assert_int_equal(check(&h, text, &limits), 0);
        assert_int_equal(h.r.content_length, table[i].length);
        assert_int_equal(h.r.chunked, table[i].chunked);
    }
}

static void test_longest_content_length_is_read_exactly(void **state)
{
    (void)state;
    const struct request_limits none = {0};
    struct head h;
    assert_int_equal(check(&h, "POST / 1.1\n" HOST "Content-Length: 999999999999999999\n", &none), 0);
    assert_int_equal(h.r.content_length, 999999999999999999);
}

static void test_connection_lives_on_as_both_agree(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool keep_alive;
    } table[] = {
        {"GET / 1.1\n" HOST, true},
        {"GET / 1.1\n" HOST "Connection: close\n", false},
        {"GET / 1.1\n" HOST "Connection: CLOSE\n", false},
        {"GET / 1.1\n" HOST "Connection: upgrade, close\n", false},
        {"GET / 1.1\n" HOST "Connection: keep-alive\nConnection: close\n", false},
        {"GET / 1.1\n" HOST "Connection: closed\n", true},
        {"GET / 1.0\n", false},
        {"GET / 1.0\nConnection: Keep-Alive\n", true},
        {"GET / 1.0\nConnection: x\nConnection: y ,keep-alive\n", true},
        {"GET / 1.0\nConnection: keep-alive, close\n", false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct head h;
        assert_int_equal(check(&h, table[i].text, &limits), 0);
        assert_int_equal(h.r.keep_alive, table[i].keep_alive);
    }
}

static void test_websocket_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool websocket;
    } table[] = {
        {"GET / 1.1\n" HOST "Connection: Upgrade\nUpgrade: websocket\n", true},
        {"GET / 1.1\n" HOST "Upgrade: h2c\nUpgrade: WebSocket\nConnection: keep-alive\nConnection: x, upgrade\n", true},
        {"GET / 1.1\n" HOST "Connection: Upgrade\nUpgrade: websocket\nContent-Length: 0\n", true},
        {"GET / 1.1\n" HOST "Upgrade: websocket\n", false},
        {"GET / 1.1\n" HOST "Connection: Upgrade\n", false},
        {"GET / 1.1\n" HOST "Connection: Upgrade\nUpgrade: websocket13\n", false},
        {"GET / 1.1\n" HOST "Connection: Upgrade\nUpgrade: websocket\nContent-Length: 3\n", false},
        {"GET / 1.1\n" HOST "Connection: Upgrade\nUpgrade: websocket\nTransfer-Encoding: chunked\n", false},
        {"POST / 1.1\n" HOST "Connection: Upgrade\nUpgrade: websocket\n", false},
        {"GET / 1.0\nConnection: Upgrade\nUpgrade: websocket\n", false},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct head h;
        assert_int_equal(check(&h, table[i].text, &limits), 0);
        assert_int_equal(h.r.websocket, table[i].websocket);
    }
}

static void test_continue_is_expected_in_http_1_1_only(void **state)
{
    (void)state;
    struct head h;
    assert_int_equal(check(&h, "POST / 1.1\n" HOST "Expect: 100-Continue\n", &limits), 0);
    assert_true(h.r.expect_continue);
    assert_int_equal(check(&h, "POST / 1.0\nExpect: 100-continue\n", &limits), 0);
    assert_false(h.r.expect_continue);
    assert_int_equal(check(&h, "POST / 1.0\nExpect: tea\n", &limits), 0);
}

static void test_body_is_limited_to_the_byte(void **state)
{
    (void)state;
    const struct request_limits none = {0};
    struct head h;
    answers("POST / 1.1\n" HOST "Content-Length: 1000\n", 0);
    answers("POST / 1.1\n" HOST "Content-Length: 1001\n", 413);
    assert_int_equal(check(&h, "POST / 1.1\n" HOST "Content-Length: 1001\n", &none), 0);
}

static void test_nothing_of_the_request_before_is_left(void **state)
{
    (void)state;
    struct head h;
    const char *reason;
    parse(&h, "GET / 1.1\n" HOST);
    h.r.content_length = 7;
    h.r.chunked = h.r.expect_continue = true;
    h.r.host = h.r.query = STR("old");
    assert_int_equal(request_check(&h.r, &limits, &reason), 0);
    assert_int_equal(h.r.content_length, -1);
    assert_false(h.r.chunked);
    assert_false(h.r.expect_continue);
    is_str(h.r.host, "example.org");
    is_str(h.r.query, "");
}

/* What is refused */

static void test_lengths_that_could_be_read_in_two_ways_are_refused(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "Content-Length: 3\nTransfer-Encoding: chunked\n",
        "Transfer-Encoding: chunked\nContent-Length: 3\n",
        "Content-Length: 3\nContent-Length: 4\n",
        "Content-Length: 3\nContent-Length: 3\n",
        "Content-Length: 0\nContent-Length: 0\n",
        "Content-Length: 3, 3\n",
        "Content-Length: 3,\n",
        "Content-Length: +3\n",
        "Content-Length: -3\n",
        "Content-Length: 1 2\n",
        "Content-Length: \n",
        "Content-Length: 0x3\n",
        "Content-Length: 3.0\n",
        "Content-Length: 3;a\n",
        "Content-Length: three\n",
        "Content-Length: 9223372036854775808\n",
        "Content-Length: 18446744073709551619\n",
        "Content-Length: 100000000000000000000000000000000003\n",
        "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n",
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "POST / 1.1\n" HOST "%s", fields[i]);
        answers(text, 400);
    }
}

static void test_other_codings_than_chunked_are_refused(void **state)
{
    (void)state;
    static const char *const codings[] = {
        "gzip",     "identity", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked, identity",
        "xchunked", "chunkedx", "chunked;a=b",   "\"chunked\""};
    for (size_t i = 0; i < sizeof(codings) / sizeof(codings[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "POST / 1.1\n" HOST "Transfer-Encoding: %s\n", codings[i]);
        answers(text, 501);
    }
    answers("POST / 1.0\nTransfer-Encoding: chunked\n", 400);
    answers("POST / 1.0\nTransfer-Encoding: gzip\n", 400);
}

static void test_host_is_needed_once_and_well_formed(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "a b",
        "a/b",
        "u@a",
        "a?b",
        "a#b",
        "a:b",
        "a:80:80",
        "a:-1",
        "a:800000",
        "[::1",
        "::1",
        "[::1]x",
        "[x]",
        "[::1]:x",
        "a\"b",
        "<a>",
        "a\\b",
        "a\x80",
        "a%",
        "a%zz",
        "[]",
        ":80",
        ":",
        "a:65536",
        "a:99999",
        "[:]",
        "[zz::1]",
        "[::1%lo]",
        "[1:2:3:4:5:6:7:8:9]",
        "[....:]",
        "[::1]:65536",
        "[127.0.0.1]",
        "[v1.a]",
        "\xe4.example",
        "u:p@a",
        "a:80@b",
        "[::1",
        "a]",
        "[[::1]]",
    };
    answers("GET / 1.1\n", 400);
    answers("GET http://a.example/ 1.1\n", 400);
    answers("GET / 1.1\n" HOST HOST, 400);
    answers("GET / 1.0\n" HOST HOST, 400);
    answers("GET / 1.1\nHost: a\nHost: b\n", 400);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "GET / 1.1\nHost: %s\n", hosts[i]);
        answers(text, 400);
    }
    answers("GET http://a.example/ 1.1\nHost: a b\n", 400);
}

/* An application may call setlocale, and Python does. */
static void test_requests_are_read_the_same_in_every_locale(void **state)
{
    (void)state;
    static const char *const locales[] = {"de_DE.ISO-8859-1", "fr_FR.ISO-8859-1", "tr_TR.ISO-8859-9",
                                          "tr_TR.UTF-8",      "C.UTF-8",          "C"};
    for (size_t i = 0; i < sizeof(locales) / sizeof(locales[0]); i++) {
        struct head h;
        if (!setlocale(LC_CTYPE, locales[i])) {
            continue; /* not installed here */
        }
        answers("GET / 1.1\nHost: \xe4.example\n", 400);
        assert_int_equal(check(&h, "POST / 1.1\nHOST: x\nTRANSFER-ENCODING: CHUNKED\n", &limits), 0);
        assert_true(h.r.chunked);
        test_known_names_are_found_in_any_case(state);
        test_other_names_are_other(state);
    }
}

static void test_nul_in_a_host_is_refused(void **state)
{
    (void)state;
    static const struct str hosts[] = {{"a\0b", 3}, {"[\0::1]", 6}, {"[::\0]", 5}, {"a:8\0", 4}};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        struct head h;
        const char *reason;
        parse(&h, "GET / 1.1\n" HOST);
        h.headers[0].value = hosts[i];
        assert_int_equal(request_check(&h.r, &limits, &reason), 400);
    }
}

static void test_targets_of_the_wrong_form_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        int status;
    } table[] = {
        {"CONNECT example.org:443 1.1\n", 501},
        {"CONNECT / 1.1\n", 501},
        {"GET example.org:443 1.1\n", 400},
        {"GET * 1.1\n", 400},
        {"OPTIONS ** 1.1\n", 400},
        {"GET a/b 1.1\n", 400},
        {"GET  1.1\n", 400},
        {"GET ?a 1.1\n", 400},
        {"GET /a#b 1.1\n", 400},
        {"GET /a?b#c 1.1\n", 400},
        {"GET http://a.example/b#c 1.1\n", 400},
        {"GET ftp://a.example/ 1.1\n", 400},
        {"GET http:/a 1.1\n", 400},
        {"GET http: 1.1\n", 400},
        {"GET http:// 1.1\n", 400},
        {"GET http:///a 1.1\n", 400},
        {"GET http://?a 1.1\n", 400},
        {"GET http://:80/ 1.1\n", 400},           /* RFC 9110 4.2.1: no host */
        {"GET http://u:p@a.example/ 1.1\n", 400}, /* RFC 9110 4.2.4 */
        {"GET http://a.example:x/ 1.1\n", 400},
        {"GET http://[::1/ 1.1\n", 400},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "%s" HOST, table[i].line);
        answers(text, table[i].status);
    }
}

static void test_other_refusals_have_their_status(void **state)
{
    (void)state;
    answers("GET / 1.1\n" HOST "Content-Type: text/plain\nContent-Type: text/plain\n", 400);
    answers("POST / 1.1\n" HOST "Expect: tea\n", 417);
    answers("POST / 1.1\n" HOST "Expect: 100-continue, tea\n", 417);
    answers("POST / 1.1\n" HOST "Expect: 100-continue\nExpect: tea\n", 417);
    answers("POST / 1.1\n" HOST "Expect: 100-continue\nContent-Length: 5000\n", 413);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_names_are_found_in_any_case),
        cmocka_unit_test(test_every_letter_of_a_known_name_counts),
        cmocka_unit_test(test_environ_keys_follow_the_names),
        cmocka_unit_test(test_other_names_are_other),
        cmocka_unit_test(test_first_of_several_headers_is_found),
        cmocka_unit_test(test_lists_are_read_token_by_token),
        cmocka_unit_test(test_targets_are_taken_apart),
        cmocka_unit_test(test_hosts_of_every_form_are_accepted),
        cmocka_unit_test(test_http_1_0_needs_no_host),
        cmocka_unit_test(test_body_is_what_the_framing_says),
        cmocka_unit_test(test_longest_content_length_is_read_exactly),
        cmocka_unit_test(test_connection_lives_on_as_both_agree),
        cmocka_unit_test(test_websocket_is_asked_for),
        cmocka_unit_test(test_continue_is_expected_in_http_1_1_only),
        cmocka_unit_test(test_body_is_limited_to_the_byte),
        cmocka_unit_test(test_nothing_of_the_request_before_is_left),
        cmocka_unit_test(test_lengths_that_could_be_read_in_two_ways_are_refused),
        cmocka_unit_test(test_other_codings_than_chunked_are_refused),
        cmocka_unit_test(test_host_is_needed_once_and_well_formed),
        cmocka_unit_test(test_requests_are_read_the_same_in_every_locale),
        cmocka_unit_test(test_nul_in_a_host_is_refused),
        cmocka_unit_test(test_targets_of_the_wrong_form_are_refused),
        cmocka_unit_test(test_other_refusals_have_their_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

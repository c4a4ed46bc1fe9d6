/* test_chunkscan.c - which chunked bodies are let through to the parser, however the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/str.h"
#include "server/http/chunkscan.h"
#include "server/http/request.h"

static const struct request_limits usual = {.line = 4094, .field_size = 8190, .fields = 100};
static const struct request_limits tight = {.line = 20, .field_size = 12, .fields = 3, .body = 20};

static unsigned seed;   /* the same cuts in every run */
static size_t seen_len; /* what the parser would see of the last text */

/* However it is cut, `text` gives that status after `good` bytes; with status 0 it ends there, or goes on when `good`
 * is all of it and it is not `whole`. */
static void gives(struct str text, const struct request_limits *limits, int status, size_t good, bool whole)
{
    seed = 1;
    for (int i = 0; i < 100; i++) {
        struct chunkscan s = {0};
        const char *reason = NULL;
        size_t at = 0;
        int got = 0;
        seen_len = 0;
        while (at < text.len && got == 0 && s.state != CHUNKSCAN_END) {
            size_t left = text.len - at, used = SIZE_MAX;
            size_t piece = i == 0 ? left : i == 1 ? 1 : 1 + (size_t)rand_r(&seed) % text.len;
            piece = piece < left ? piece : left;
            char *copy = malloc(piece); /* of just that size: reading past it would be noticed */
            assert_non_null(copy);
            memcpy(copy, text.p + at, piece);
            bool hidden = false;
            got = chunkscan_feed(&s, copy, piece, limits, &used, &hidden, &reason);
            free(copy);
            assert_true(used <= piece && (used > 0 || got));
            seen_len += hidden ? 0 : used;
            at += used;
        }
        if (got != status || at != good || (s.state == CHUNKSCAN_END) != whole || (got && (!reason || !*reason))) {
            fail_msg("'%.*s', cut %d: status %d, %zu bytes good, state %d", (int)text.len, text.p, i, got, at, s.state);
        }
    }
}

static void accepts(struct str text)
{
    gives(text, &usual, 0, text.len, true);
}

/* The byte at `good` is the wrong one. */
static void refuses(struct str text, size_t good)
{
    gives(text, &usual, 400, good, false);
}

static void test_well_formed_bodies_pass(void **state)
{
    (void)state;
    accepts(STR("0\r\n\r\n"));
    accepts(STR("5\r\nhello\r\n0\r\n\r\n"));
    accepts(STR("A\r\n\r\n\0\n\r0\r\n\r\n\r\n00\r\n\r\n")); /* data may be anything */
    accepts(STR("0000000000000001\r\nx\r\n000\r\n\r\n"));
    accepts(STR("1;a\r\nx\r\n1;a=b;c=\"d e\"\r\nx\r\n0;end\r\n\r\n"));
    accepts(STR("0\r\nX-Checksum: 1\r\nX-Empty:\r\n\r\n"));
}

static void test_size_is_hexadecimal_digits_and_nothing_else(void **state)
{
    (void)state;
    refuses(STR("\r\n"), 0);
    refuses(STR(";a\r\n"), 0);
    refuses(STR("-1\r\n"), 0);
    refuses(STR("+1\r\n"), 0);
    refuses(STR(" 1\r\n"), 0);
    refuses(STR("0x1\r\n"), 1);
    refuses(STR("1g\r\n"), 1);
    refuses(STR("1 \r\n"), 1);
    refuses(STR("1\t;a\r\n"), 1);
    refuses(STR("1_0\r\n"), 1);
    refuses(STR("1\r\nx\r\n\r\n"), 6);
}

static void test_size_beyond_64_bits_is_refused(void **state)
{
    (void)state;
    gives(STR("ffffffffffffffff\r\n"), &usual, 0, 18, false);
    refuses(STR("10000000000000000\r\n"), 16);
    refuses(STR("00000000000000001\r\n"), 16);
}

static void test_chunk_that_goes_beyond_the_limit_is_refused_before_it_comes(void **state)
{
    (void)state;
    gives(STR("14\r\n0123456789012345678_\r\n0\r\n\r\n"), &tight, 0, 31, true);
    gives(STR("15\r\n"), &tight, 413, 4, false);
    gives(STR("ffffffffffffffff\r\n"), &tight, 413, 18, false);
    gives(STR("a\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"), &tight, 0, 35, true);
    gives(STR("a\r\n0123456789\r\nb;a=b\r\n"), &tight, 413, 22, false);
    gives(STR("a\r\n0123456789\r\nfffffffffffffffe\r\n"), &tight, 413, 33, false);
}

static void test_lines_end_in_cr_lf_only(void **state)
{
    (void)state;
    refuses(STR("1\nx"), 1);
    refuses(STR("1\rx"), 2);
    refuses(STR("1\r\rx"), 2);
    refuses(STR("1;a\nx"), 3);
    refuses(STR("1\r\nx\n"), 4);
    refuses(STR("1\r\nx\rx"), 5);
    refuses(STR("1\r\nxx"), 4); /* a chunk longer than its size */
    refuses(STR("0\r\n\n"), 3);
    refuses(STR("0\r\n\rX"), 4);
    refuses(STR("0\r\nA: b\n\r\n"), 7);
    refuses(STR("0\r\nA: b\rC: d\r\n\r\n"), 8);
}

static void test_extensions_hold_no_control_characters_and_have_a_bound(void **state)
{
    (void)state;
    refuses(STR("1;a\0\r\n"), 3);
    refuses(STR("1;a\x7f\r\n"), 3);
    struct buf b = {0};
    assert_int_equal(buf_puts(&b, "1;"), 0);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(buf_puts(&b, "a"), 0);
    }
    refuses((struct str){b.data, b.len}, 256);
    buf_finish(&b);
}

static void test_extensions_are_names_and_values_and_the_parser_never_sees_them(void **state)
{
    (void)state;
    static const struct str good[] = {
        {";a", 2},           {";a;b", 4},        {";a=b;c=d", 8},    {";a;b=c;d=\"e f\"", 14},
        {";a=\"\"", 5},      {";a=\";\"", 6},    {";a=\"\\\"\"", 7}, {";a=\"b\";c", 8},
        {";!#$%=&'*+-", 11}, {";a=\"\xe4\"", 6}, {";0=1", 4},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct buf b = {0};
        assert_int_equal(
            buf_printf(&b, "1%.*s\r\nx\r\n0%.*s\r\n\r\n", (int)good[i].len, good[i].p, (int)good[i].len, good[i].p), 0);
        accepts((struct str){b.data, b.len});
        assert_int_equal(seen_len, 11);
        buf_finish(&b);
    }
    refuses(STR("1;\r\n"), 2);
    refuses(STR("1;;a\r\n"), 2);
    refuses(STR("1; a\r\n"), 2);
    refuses(STR("1;a \r\n"), 3);
    refuses(STR("1;a;\r\n"), 4);
    refuses(STR("1;=b\r\n"), 2);
    refuses(STR("1;a=\r\n"), 4);
    refuses(STR("1;a= b\r\n"), 4);
    refuses(STR("1;a=b=c\r\n"), 5);
    refuses(STR("1;a=b\"c\"\r\n"), 5);
    refuses(STR("1;a=\"b\"c\r\n"), 7);
    refuses(STR("1;a=\"b\r\n"), 6);
    refuses(STR("1;a=\"b\\\r\n"), 7);
}

static void test_trailers_are_bound_by_the_limits_of_heads(void **state)
{
    (void)state;
    gives(STR("0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), &tight, 0, 23, true);
    gives(STR("0\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n"), &tight, 431, 21, false);
    gives(STR("0\r\nName: 789012\r\n\r\n"), &tight, 0, 19, true);
    gives(STR("0\r\nName: 7890123\r\n\r\n"), &tight, 431, 15, false);
    refuses(STR("0\r\nA: b\r\n c\r\n\r\n"), 9);
    refuses(STR("0\r\n: b\r\n\r\n"), 3);
    refuses(STR("0\r\nA: \x01\r\n\r\n"), 6);

    struct buf b = {0};
    assert_int_equal(buf_puts(&b, "0\r\n"), 0);
    while (b.len < 9000) {
        assert_int_equal(
            buf_puts(&b, "Name-Of-A-Trailer: its value, which is a little longer than usual, and so on and on, "
                         "so that few of them are needed\r\n"),
            0);
    }
    gives((struct str){b.data, b.len}, &usual, 431, 3 + 8192, false);
    buf_finish(&b);
}

static void test_trailers_that_change_the_meaning_are_refused(void **state)
{
    (void)state;
    refuses(STR("0\r\nContent-Length: 5\r\n\r\n"), 17);
    refuses(STR("0\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n"), 26);
    refuses(STR("0\r\nHOST:x\r\n\r\n"), 7);
    refuses(STR("0\r\nX-Forwarded-For: x\r\n\r\n"), 18);
    refuses(STR("0\r\nIf-None-Match: x\r\n\r\n"), 16);
    accepts(STR("0\r\nX-Value: Host: x\r\n\r\n"));
    accepts(STR("0\r\nHosts: x\r\n\r\n"));
    accepts(STR("0\r\nA-Name-That-Is-Longer-Than-Every-Name-We-Know-Host: x\r\n\r\n"));
}

static void test_bytes_behind_the_body_are_not_looked_at(void **state)
{
    (void)state;
    gives(STR("0\r\n\r\n\0\n\rGET"), &usual, 0, 5, true);
    gives(STR("1\r\nx\r\n0\r\nA: b\r\n\r\n\n"), &usual, 0, 17, true);
}

static void test_half_a_body_is_not_complete(void **state)
{
    (void)state;
    static const char body[] = "5;a=b\r\nhello\r\n0\r\nX-A: b\r\n\r\n";
    for (size_t len = 1; len < sizeof(body) - 1; len++) {
        gives((struct str){body, len}, &usual, 0, len, false);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_well_formed_bodies_pass),
        cmocka_unit_test(test_size_is_hexadecimal_digits_and_nothing_else),
        cmocka_unit_test(test_size_beyond_64_bits_is_refused),
        cmocka_unit_test(test_chunk_that_goes_beyond_the_limit_is_refused_before_it_comes),
        cmocka_unit_test(test_lines_end_in_cr_lf_only),
        cmocka_unit_test(test_extensions_hold_no_control_characters_and_have_a_bound),
        cmocka_unit_test(test_extensions_are_names_and_values_and_the_parser_never_sees_them),
        cmocka_unit_test(test_trailers_are_bound_by_the_limits_of_heads),
        cmocka_unit_test(test_trailers_that_change_the_meaning_are_refused),
        cmocka_unit_test(test_bytes_behind_the_body_are_not_looked_at),
        cmocka_unit_test(test_half_a_body_is_not_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

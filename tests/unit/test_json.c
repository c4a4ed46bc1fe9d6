/* test_json.c - whatever goes in, what comes out is JSON in UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/json.h"

#define LONE "\xef\xbf\xbd" /* U+FFFD */

/* From an allocation of just its size. */
static void expect(const char *bytes, size_t len, const char *wanted)
{
    char *exact = malloc(len ? len : 1);
    struct buf out = {0};
    memcpy(exact, bytes, len);
    assert_int_equal(json_escape(&out, exact, len), 0);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_finish(&out);
    free(exact);
}

#define EXPECT(bytes, wanted) expect(bytes, sizeof(bytes) - 1, wanted)

static void test_nothing_ends_the_string_or_its_line(void **state)
{
    (void)state;
    EXPECT("", "");
    EXPECT("plain /path?x=1", "plain /path?x=1");
    EXPECT("say \"hi\"", "say \\\"hi\\\"");
    EXPECT("back\\slash", "back\\\\slash");
    EXPECT("a\nb\rc\td\be\f", "a\\nb\\rc\\td\\be\\f");
    EXPECT("nul\0in\x1b[31m\x7f", "nul\\u0000in\\u001b[31m\\u007f");
    EXPECT("\xc2\x9b"
           "31m",
           "\\u009b31m"); /* a terminal takes U+009B for ESC [ */
    EXPECT("\xe2\x80\xa8\xe2\x80\xa9", "\\u2028\\u2029");
}

static void test_utf8_stays_as_it_is(void **state)
{
    (void)state;
    EXPECT("Gr\xc3\xbc\xc3\x9f"
           "e",
           "Gr\xc3\xbc\xc3\x9f"
           "e");
    EXPECT("\xc2\xa0", "\xc2\xa0");                                 /* the first beyond the control characters */
    EXPECT("\xe0\xa0\x80\xed\x9f\xbf", "\xe0\xa0\x80\xed\x9f\xbf"); /* around the surrogates, and the shortest */
    EXPECT("\xf0\x9f\x90\x8d\xf4\x8f\xbf\xbf", "\xf0\x9f\x90\x8d\xf4\x8f\xbf\xbf");
    EXPECT(LONE, LONE);
}

static void test_what_is_no_utf8_is_replaced(void **state)
{
    (void)state;
    EXPECT("\xff", LONE);
    EXPECT("\x80\xbf", LONE LONE);
    EXPECT("caf\xe9", "caf" LONE);          /* latin-1 at the end */
    EXPECT("\xe9t\xe9", LONE "t" LONE);     /* and in the middle */
    EXPECT("\xc0\xaf", LONE LONE);          /* a slash that is longer than needed */
    EXPECT("\xe0\x9f\xbf", LONE LONE LONE); /* the same with three bytes */
    EXPECT("\xed\xa0\x80", LONE LONE LONE); /* a surrogate */
    EXPECT("\xf4\x90\x80\x80", LONE LONE LONE LONE);
    EXPECT("\xf0\x9f\x90", LONE);          /* cut: one for what belongs together */
    EXPECT("\xf0\x9f\x90\"", LONE "\\\""); /* and the quote behind it is seen */
    EXPECT("\xe2\x80\n", LONE "\\n");
    EXPECT("\xf5\x80", LONE LONE);
}

/* Reads what came out again, as narrowly as RFC 3629 and RFC 8259 allow. */
static void assert_inside_of_a_string(const unsigned char *p, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned char c = p[i];
        size_t n = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
        assert_true(n > 0 && i + n <= len);
        assert_true(c >= 0x20 && c != '"' && c != 0x7f);
        for (size_t k = 1; k < n; k++) {
            assert_int_equal(p[i + k] & 0xc0, 0x80);
        }
        assert_false(c == 0xe0 && p[i + 1] < 0xa0);
        assert_false(c == 0xed && p[i + 1] > 0x9f);
        assert_false(c == 0xf0 && p[i + 1] < 0x90);
        assert_false(c == 0xf4 && p[i + 1] > 0x8f);
        if (c == '\\') {
            assert_true(i + 1 < len && strchr("\"\\bfnrtu", p[i + 1]));
            n = p[i + 1] == 'u' ? 6 : 2;
            assert_true(i + n <= len);
        }
        i += n;
    }
}

static void test_random_bytes_become_valid_text(void **state)
{
    (void)state;
    static const unsigned char EDGES[] = {0x00, 0x22, 0x5c, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xa8, 0xbf,
                                          0xc1, 0xc2, 0xdf, 0xe0, 0xe2, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
    srand(1);
    for (int i = 0; i < 20000; i++) {
        unsigned char bytes[8];
        size_t len = (size_t)rand() % (sizeof(bytes) + 1);
        for (size_t k = 0; k < len; k++) {
            bytes[k] = rand() % 2 ? EDGES[(size_t)rand() % sizeof(EDGES)] : (unsigned char)rand();
        }
        struct buf out = {0};
        assert_int_equal(json_escape(&out, bytes, len), 0);
        assert_inside_of_a_string((const unsigned char *)out.data, out.len);
        buf_finish(&out);
    }
}

static void test_commas_stand_between_values_only(void **state)
{
    (void)state;
    struct buf text = {0};
    struct json j = {.out = &text};
    json_open(&j, '{');
    json_key(&j, "empty");
    json_open(&j, '[');
    json_close(&j, ']');
    json_key(&j, "list");
    json_open(&j, '[');
    json_int(&j, -1);
    json_open(&j, '{');
    json_close(&j, '}');
    json_text(&j, NULL);
    json_text(&j, "a\"b");
    json_close(&j, ']');
    json_key(&j, "k\n");
    json_bool(&j, true);
    json_key(&j, "big");
    json_uint(&j, UINT64_MAX);
    json_key(&j, "small");
    json_int(&j, INT64_MIN);
    json_close(&j, '}');
    assert_int_equal(j.error, 0);
    assert_string_equal(buf_cstr(&text), "{\"empty\":[],\"list\":[-1,{},null,\"a\\\"b\"],\"k\\n\":true,"
                                         "\"big\":18446744073709551615,\"small\":-9223372036854775808}");
    buf_finish(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_ends_the_string_or_its_line),
        cmocka_unit_test(test_utf8_stays_as_it_is),
        cmocka_unit_test(test_what_is_no_utf8_is_replaced),
        cmocka_unit_test(test_random_bytes_become_valid_text),
        cmocka_unit_test(test_commas_stand_between_values_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_chars.c - the character classes, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/http/chars.h"

/* RFC 9110 5.6.2, letter by letter. */
static bool is_tchar(int c)
{
    return c != 0 && strchr("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c) != NULL;
}

/* RFC 9110 5.5: HTAB, SP, VCHAR, obs-text. */
static bool is_field_char(int c)
{
    return c == '\t' || (c >= ' ' && c != 0x7f);
}

/* RFC 3986 3.2.2: unreserved and sub-delims. */
static bool is_host_char(int c)
{
    return c != 0 && strchr("-._~!$&'()*+,;=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c) != NULL;
}

static void test_hosts_are_made_of_unreserved_and_sub_delims(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        assert_int_equal(chars_is_host((char)c), is_host_char(c));
    }
}

static void test_token_is_made_of_tchars_only(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char text[] = {'a', (char)c, 'z'};
        assert_int_equal(chars_are_token((struct str){text + 1, 1}), is_tchar(c));
        assert_int_equal(chars_are_token((struct str){text, 3}), is_tchar(c));
    }
}

static void test_empty_text_is_no_token(void **state)
{
    (void)state;
    assert_false(chars_are_token(STR("")));
    assert_false(chars_are_token((struct str){NULL, 0}));
}

static void test_control_character_is_found_wherever_it_stands(void **state)
{
    (void)state;
    /* The neighbours decide about carries between the bytes of a word. */
    static const unsigned char neighbours[] = {' ', 'x', '~', '\t', 0x80, 0xff};
    char text[27];
    for (size_t n = 0; n < sizeof(neighbours); n++) {
        for (size_t len = 1; len <= sizeof(text); len++) {
            for (size_t at = 0; at < len; at++) {
                for (int c = 0; c < 256; c++) {
                    memset(text, neighbours[n], len);
                    text[at] = (char)c;
                    assert_int_equal(chars_are_field_text((struct str){text, len}), is_field_char(c));
                }
            }
        }
    }
}

static void test_random_text_is_judged_as_byte_by_byte(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int i = 0; i < 100000; i++) {
        char text[40];
        size_t len = (size_t)rand_r(&seed) % sizeof(text);
        bool expected = true;
        for (size_t k = 0; k < len; k++) {
            int c = rand_r(&seed) % 20 ? ' ' + rand_r(&seed) % 224 : rand_r(&seed) % 256;
            text[k] = (char)c;
            expected = expected && is_field_char(c);
        }
        assert_int_equal(chars_are_field_text((struct str){text, len}), expected);
    }
}

static void test_empty_text_is_field_text(void **state)
{
    (void)state;
    assert_true(chars_are_field_text(STR("")));
    assert_true(chars_are_field_text((struct str){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts_are_made_of_unreserved_and_sub_delims),
        cmocka_unit_test(test_token_is_made_of_tchars_only),
        cmocka_unit_test(test_empty_text_is_no_token),
        cmocka_unit_test(test_control_character_is_found_wherever_it_stands),
        cmocka_unit_test(test_random_text_is_judged_as_byte_by_byte),
        cmocka_unit_test(test_empty_text_is_field_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

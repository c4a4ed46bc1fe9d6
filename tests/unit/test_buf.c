/* test_buf.c - how a buffer grows, and what it keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/base/buf.h"

static void test_what_is_added_stands_behind_what_was_there(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_append(&b, "one", 3), 0);
    assert_int_equal(buf_puts(&b, " two"), 0);
    assert_int_equal(buf_printf(&b, " %d", 3), 0);
    assert_int_equal(b.len, 9);
    assert_string_equal(b.data, "one two 3"); /* printf's NUL is there, and not counted */
    assert_int_equal(buf_append(&b, "!", 1), 0);
    assert_string_equal(buf_cstr(&b), "one two 3!");
    assert_int_equal(b.len, 10);
    buf_finish(&b);
}

static void test_growing_keeps_every_byte(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 100000; i++) {
        char c = (char)i;
        assert_int_equal(buf_append(&b, &c, 1), 0);
    }
    assert_int_equal(b.len, 100000);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(b.data[i], (char)i);
    }
    buf_finish(&b);
}

static void test_printf_takes_text_of_any_length(void **state)
{
    (void)state;
    struct buf b = {0};
    char text[5001];
    memset(text, 'x', 5000);
    text[5000] = '\0';
    for (size_t n = 250; n < 262; n++) { /* around the first size that is allocated */
        b.len = 0;
        assert_int_equal(buf_printf(&b, "%.*s", (int)n, text), 0);
        assert_int_equal(b.len, n);
        assert_int_equal(strlen(b.data), n);
        buf_finish(&b);
    }
    assert_int_equal(buf_printf(&b, "%s%s", text, text), 0);
    assert_int_equal(b.len, 10000);
    buf_finish(&b);
}

static void test_reserved_room_is_not_content(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_reserve(&b, 1000), 0);
    assert_true(b.cap >= 1000);
    assert_int_equal(b.len, 0);
    char *data = b.data;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(buf_append(&b, "0123456789", 10), 0);
    }
    assert_ptr_equal(b.data, data);
    buf_finish(&b);
}

static void test_consume_moves_the_rest_to_the_front(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_consume(&b, 0);
    assert_int_equal(buf_puts(&b, "headbody"), 0);
    buf_consume(&b, 0);
    assert_string_equal(buf_cstr(&b), "headbody");
    buf_consume(&b, 4);
    assert_string_equal(buf_cstr(&b), "body");
    buf_consume(&b, 4);
    assert_string_equal(buf_cstr(&b), "");
    buf_finish(&b);
}

static void test_impossible_size_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_puts(&b, "kept"), 0);
    size_t cap = b.cap;
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOMEM);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 4), -ENOMEM);
    assert_int_equal(b.cap, cap);
    assert_string_equal(buf_cstr(&b), "kept");
    buf_finish(&b);
}

static void test_empty_buffer_is_an_empty_string(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    assert_string_equal(buf_cstr(&b), "");
    buf_finish(&b);
}

static void test_finished_buffer_is_empty_and_usable_again(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_puts(&b, "old"), 0);
    buf_finish(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_puts(&b, "new"), 0);
    assert_string_equal(buf_cstr(&b), "new");
    buf_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_added_stands_behind_what_was_there),
        cmocka_unit_test(test_growing_keeps_every_byte),
        cmocka_unit_test(test_printf_takes_text_of_any_length),
        cmocka_unit_test(test_reserved_room_is_not_content),
        cmocka_unit_test(test_consume_moves_the_rest_to_the_front),
        cmocka_unit_test(test_impossible_size_leaves_the_buffer_as_it_was),
        cmocka_unit_test(test_empty_buffer_is_an_empty_string),
        cmocka_unit_test(test_finished_buffer_is_empty_and_usable_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_bulletin.c - a text that one process changes and others read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/bulletin.h"

static struct bulletin *create(void)
{
    struct bulletin *b;
    assert_int_equal(bulletin_create(&b), 0);
    return b;
}

static void says(const struct bulletin *b, const char *text)
{
    struct buf got = {0};
    uint64_t seen = 0;
    assert_int_equal(bulletin_get(b, &got, &seen), 0);
    assert_int_equal(got.len, strlen(text));
    assert_memory_equal(got.len ? got.data : "", text, got.len);
    assert_false(bulletin_is_new(b, seen));
    buf_finish(&got);
}

static void test_text_is_new_until_it_was_read(void **state)
{
    (void)state;
    struct bulletin *b = create();
    uint64_t number = 0, later = 0;
    assert_false(bulletin_is_new(b, 0));
    says(b, "");
    assert_int_equal(bulletin_put(b, "hello", 5, &number), 0);
    assert_true(bulletin_is_new(b, 0));
    assert_false(bulletin_is_new(b, number));
    says(b, "hello");
    assert_int_equal(bulletin_put(b, "a longer text", 13, &later), 0);
    assert_true(later > number && bulletin_is_new(b, number));
    says(b, "a longer text");
    assert_int_equal(bulletin_put(b, "", 0, &later), 0);
    says(b, "");
    bulletin_destroy(b);
    bulletin_destroy(NULL);
}

static void test_next_image_takes_it_over(void **state)
{
    (void)state;
    struct bulletin *b = create(), *next;
    uint64_t number = 0, later = 0;
    assert_int_equal(bulletin_put(b, "hello", 5, &number), 0);
    int fd = dup(bulletin_fd(b));
    assert_int_equal(bulletin_adopt(&next, fd), 0);
    says(next, "hello");
    assert_int_equal(bulletin_put(next, "new", 3, &later), 0);
    assert_true(bulletin_is_new(b, number));
    says(b, "new");
    bulletin_destroy(b);
    bulletin_destroy(next);
}

static void test_what_is_no_bulletin_is_refused(void **state)
{
    (void)state;
    struct bulletin *b;
    int fd = memfd_create("other", 0);
    assert_int_equal(bulletin_adopt(&b, fd), -EINVAL);
    assert_int_equal(ftruncate(fd, 10000), 0);
    assert_int_equal(bulletin_adopt(&b, fd), -EINVAL);
    assert_int_equal(close(fd), 0); /* it is still ours */
    assert_int_equal(bulletin_adopt(&b, fd), -EBADF);
}

/* Each text is of one letter, and says so by its length: a reader that sees another has read parts of two. */
static void test_reader_never_sees_parts_of_two_texts(void **state)
{
    (void)state;
    struct bulletin *b = create();
    uint64_t number;
    pid_t child = fork();
    if (child == 0) {
        static char text[26 * 5000];
        for (int i = 0; i < 3000; i++) {
            size_t len = (size_t)(i % 26 + 1) * 5000;
            memset(text, 'a' + i % 26, len);
            if (bulletin_put(b, text, len, &number) < 0) {
                _exit(1);
            }
        }
        _exit(0);
    }
    int status;
    while (waitpid(child, &status, WNOHANG) == 0) {
        struct buf got = {0};
        int r = bulletin_get(b, &got, &number);
        assert_true(r == 0 || r == -EAGAIN);
        if (r == 0 && got.len > 0) {
            assert_int_equal(got.len, (size_t)(got.data[0] - 'a' + 1) * 5000);
            for (size_t i = 1; i < got.len; i++) {
                assert_true(got.data[i] == got.data[0]);
            }
        }
        buf_finish(&got);
    }
    assert_int_equal(status, 0);
    struct buf got = {0};
    assert_int_equal(bulletin_get(b, &got, &number), 0);
    assert_int_equal(got.data[0], 'a' + 2999 % 26);
    buf_finish(&got);
    bulletin_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_new_until_it_was_read),
        cmocka_unit_test(test_next_image_takes_it_over),
        cmocka_unit_test(test_what_is_no_bulletin_is_refused),
        cmocka_unit_test(test_reader_never_sees_parts_of_two_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

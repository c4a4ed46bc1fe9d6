/* test_body.c - a request body in memory, in a file, and on the way from one to the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/http/body.h"

static int make_dir(void **state)
{
    static char dir[64];
    snprintf(dir, sizeof(dir), "/tmp/test-body-XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int remove_dir(void **state)
{
    return rmdir(*state); /* fails when something was left in it */
}

static void has(const struct body *b, const char *expected, size_t len)
{
    char *got = calloc(1, len + 10);
    assert_non_null(got);
    assert_int_equal(body_len(b), len);
    assert_int_equal(body_pread(b, 0, got, len + 10), len);
    assert_memory_equal(got, expected, len);
    free(got);
}

static void test_small_body_stays_in_memory(void **state)
{
    struct body *b = body_create(8, *state);
    assert_int_equal(body_append(b, "abcd", 4), 0);
    assert_int_equal(body_append(b, "efgh", 4), 0); /* just mem_max */
    assert_memory_equal(body_view(b), "abcdefgh", 8);
    has(b, "abcdefgh", 8);
    body_destroy(b);
}

static void test_body_moves_to_a_file_past_its_limit(void **state)
{
    struct body *b = body_create(8, *state);
    assert_int_equal(body_append(b, "abcdefgh", 8), 0);
    assert_int_equal(body_append(b, "i", 1), 0);
    assert_null(body_view(b));
    assert_int_equal(body_append(b, "jk", 2), 0);
    has(b, "abcdefghijk", 11);
    body_destroy(b);
}

static void test_file_has_no_name(void **state)
{
    struct body *b = body_create(0, *state);
    assert_int_equal(body_append(b, "abc", 3), 0);
    assert_null(body_view(b));
    DIR *dir = opendir(*state);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir));) {
        assert_int_equal(e->d_name[0], '.');
    }
    closedir(dir);
    has(b, "abc", 3);
    body_destroy(b);
}

static void test_any_range_can_be_read(void **state)
{
    char text[40], got[64];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)('0' + i);
    }
    for (size_t mem_max = 0; mem_max <= sizeof(text); mem_max += sizeof(text) / 2) { /* in a file, moved, in memory */
        struct body *b = body_create(mem_max, *state);
        for (size_t i = 0; i < sizeof(text); i += 5) {
            assert_int_equal(body_append(b, text + i, 5), 0);
        }
        for (size_t from = 0; from <= sizeof(text) + 2; from++) {
            for (size_t max = 0; max < sizeof(got); max++) {
                size_t left = from < sizeof(text) ? sizeof(text) - from : 0;
                size_t expected = max < left ? max : left;
                memset(got, '!', sizeof(got));
                assert_int_equal(body_pread(b, from, got, max), expected);
                assert_memory_equal(got, text + from, expected);
                assert_int_equal(got[expected], '!');
            }
        }
        assert_int_equal(body_pread(b, UINT64_MAX, got, 1), 0);
        body_destroy(b);
    }
}

static void test_large_body_is_kept_to_the_byte(void **state)
{
    struct body *b = body_create(128 * 1024, *state);
    unsigned char piece[7919], got[4096];
    uint64_t total = 0;
    unsigned sum = 0, got_sum = 0;
    unsigned seed = 1;
    while (total < 3000000) {
        size_t n = 1 + (size_t)rand_r(&seed) % sizeof(piece);
        for (size_t i = 0; i < n; i++) {
            piece[i] = (unsigned char)rand_r(&seed);
            sum = sum * 31 + piece[i];
        }
        assert_int_equal(body_append(b, piece, n), 0);
        total += n;
    }
    assert_int_equal(body_len(b), total);
    uint64_t at = 0;
    for (ssize_t n; (n = body_pread(b, at, got, sizeof(got))) != 0; at += (uint64_t)n) {
        assert_true(n > 0);
        for (ssize_t i = 0; i < n; i++) {
            got_sum = got_sum * 31 + got[i];
        }
    }
    assert_int_equal(at, total);
    assert_int_equal(got_sum, sum);
    body_destroy(b);
}

static void test_failed_spill_keeps_what_was_there(void **state)
{
    (void)state;
    struct body *b = body_create(4, "/nonexistent");
    assert_int_equal(body_append(b, "abc", 3), 0);
    assert_int_equal(body_append(b, "de", 2), -ENOENT);
    has(b, "abc", 3);
    assert_memory_equal(body_view(b), "abc", 3);
    assert_int_equal(body_append(b, "d", 1), 0);
    has(b, "abcd", 4);
    body_destroy(b);
}

static void test_full_disk_keeps_what_was_there(void **state)
{
    struct rlimit before, small = {100, RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN); /* then write answers EFBIG */

    char text[201];
    memset(text, 'x', sizeof(text));
    struct body *in_memory = body_create(150, *state), *in_file = body_create(10, *state);
    assert_int_equal(body_append(in_memory, text, 150), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int spilled = body_append(in_memory, text, 1);
    int stored = body_append(in_file, text, 90);
    int cut = body_append(in_file, text, 50);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);

    assert_int_equal(spilled, -EFBIG);
    has(in_memory, text, 150);
    assert_int_equal(stored, 0);
    assert_int_equal(cut, -EFBIG);
    has(in_file, text, 90);
    assert_int_equal(body_append(in_file, "end", 3), 0);
    memcpy(text + 90, "end", 3);
    has(in_file, text, 93);
    body_destroy(in_memory);
    body_destroy(in_file);
}

static void test_no_body_is_an_empty_body(void **state)
{
    char c;
    assert_int_equal(body_len(NULL), 0);
    assert_null(body_view(NULL));
    assert_int_equal(body_pread(NULL, 0, &c, 1), 0);
    body_destroy(NULL);

    struct body *b = body_create(4, *state);
    assert_int_equal(body_append(b, "", 0), 0);
    assert_int_equal(body_len(b), 0);
    assert_null(body_view(b));
    assert_int_equal(body_pread(b, 0, &c, 1), 0);
    body_destroy(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_body_stays_in_memory),
        cmocka_unit_test(test_body_moves_to_a_file_past_its_limit),
        cmocka_unit_test(test_file_has_no_name),
        cmocka_unit_test(test_any_range_can_be_read),
        cmocka_unit_test(test_large_body_is_kept_to_the_byte),
        cmocka_unit_test(test_failed_spill_keeps_what_was_there),
        cmocka_unit_test(test_full_disk_keeps_what_was_there),
        cmocka_unit_test(test_no_body_is_an_empty_body),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

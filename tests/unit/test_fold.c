/* test_fold.c - equal lines in quick succession: the first ones pass, the others are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/fold.h"

#define SECOND UINT64_C(1000000)
#define MINUTE (60 * SECOND)

static int begin(void **state)
{
    *state = fold_create();
    return *state ? 0 : -1;
}

static int end(void **state)
{
    fold_destroy(*state);
    return 0;
}

/* How many of `n` equal lines pass. */
static int pass(struct fold *f, const char *text, int n, uint64_t now)
{
    int passed = 0;
    for (int i = 0; i < n; i++) {
        passed += fold_admit(f, 1, text, strlen(text), now);
    }
    return passed;
}

static void test_a_flood_is_counted_and_told_of_once_a_minute(void **state)
{
    struct fold *f = *state;
    struct fold_report r;
    assert_int_equal(pass(f, "text\nand more", 1000, SECOND), FOLD_PASS);
    assert_int_equal(pass(f, "text\nand more", 209, 2 * SECOND), 0);
    assert_int_equal(fold_due(f), SECOND + MINUTE);
    assert_false(fold_take(f, MINUTE, false, &r));
    assert_true(fold_take(f, MINUTE + SECOND, false, &r));
    assert_int_equal(r.count, 1204);
    assert_int_equal(r.seconds, 60);
    assert_int_equal(r.level, 1);
    assert_string_equal(r.text, "text");
    assert_int_equal(fold_due(f), 0);
    assert_false(fold_take(f, MINUTE + SECOND, false, &r));
}

static void test_different_lines_all_pass(void **state)
{
    for (int i = 0; i < 1000; i++) {
        char text[32];
        snprintf(text, sizeof(text), "line %d", i);
        assert_int_equal(pass(*state, text, 1, SECOND), 1);
    }
    assert_int_equal(fold_due(*state), 0);
}

static void test_level_makes_a_difference(void **state)
{
    for (int i = 0; i < FOLD_PASS; i++) {
        assert_true(fold_admit(*state, 1, "text", 4, SECOND));
        assert_true(fold_admit(*state, 2, "text", 4, SECOND));
    }
    assert_false(fold_admit(*state, 1, "text", 4, SECOND));
    assert_false(fold_admit(*state, 2, "text", 4, SECOND));
}

static void test_what_goes_on_coming_has_a_longer_window(void **state)
{
    struct fold *f = *state;
    struct fold_report r;
    uint64_t now = SECOND;
    int passed = 0;
    unsigned long told = 0;
    for (int i = 0; i < 120; i++, now += 30 * SECOND) { /* an hour of a worker that dies at boot */
        passed += pass(f, "traceback", 1, now);
        while (fold_take(f, now, false, &r)) {
            told += r.count;
        }
    }
    while (fold_take(f, now, true, &r)) {
        told += r.count;
    }
    assert_int_equal(passed + told, 120);
    assert_in_range(passed, FOLD_PASS, 6 * FOLD_PASS + 2);
}

static void test_all_is_told_before_it_is_due(void **state)
{
    struct fold_report r;
    pass(*state, "a", 10, SECOND);
    pass(*state, "b", 7, SECOND);
    unsigned long told = 0;
    while (fold_take(*state, 11 * SECOND, true, &r)) {
        assert_int_equal(r.seconds, 10);
        told += r.count;
    }
    assert_int_equal(told, 17 - 2 * FOLD_PASS);
}

static void test_processes_share_the_count(void **state)
{
    struct fold *f = *state;
    struct fold_report r;
    for (int p = 0; p < 4; p++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            _exit(pass(f, "text", 10, SECOND));
        }
    }
    int passed = 0;
    for (int p = 0; p < 4; p++) {
        int status;
        assert_true(wait(&status) > 0 && WIFEXITED(status));
        passed += WEXITSTATUS(status);
    }
    assert_int_equal(passed, FOLD_PASS);
    assert_true(fold_take(f, MINUTE + SECOND, false, &r));
    assert_int_equal(r.count, 40 - FOLD_PASS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_a_flood_is_counted_and_told_of_once_a_minute),
        TEST(test_different_lines_all_pass),
        TEST(test_level_makes_a_difference),
        TEST(test_what_goes_on_coming_has_a_longer_window),
        TEST(test_all_is_told_before_it_is_due),
        TEST(test_processes_share_the_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

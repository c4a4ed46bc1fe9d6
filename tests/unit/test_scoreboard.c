/* test_scoreboard.c - what several processes and images of the master see in the scoreboard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/scoreboard.h"

static void test_new_slots_are_free(void **state)
{
    (void)state;
    struct scoreboard *sb;
    assert_int_equal(scoreboard_create(&sb, 5), 0);
    assert_int_equal(scoreboard_size(sb), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(scoreboard_slot(sb, i)->state, SLOT_FREE);
        assert_int_equal(scoreboard_slot(sb, i)->pid, 0);
    }
    scoreboard_destroy(sb);
}

static void test_each_slot_has_a_cache_line_of_its_own(void **state)
{
    (void)state;
    struct scoreboard *sb;
    assert_int_equal(scoreboard_create(&sb, 3), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal((uintptr_t)scoreboard_slot(sb, i) % 64, 0);
    }
    assert_true((char *)scoreboard_slot(sb, 1) - (char *)scoreboard_slot(sb, 0) >= 64);
    scoreboard_destroy(sb);
}

static void test_parent_sees_what_its_child_wrote(void **state)
{
    (void)state;
    struct scoreboard *sb;
    assert_int_equal(scoreboard_create(&sb, 2), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        scoreboard_slot(sb, 1)->requests = 42;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(scoreboard_slot(sb, 1)->requests, 42);
    scoreboard_destroy(sb);
}

static void test_next_image_sees_the_same_slots(void **state)
{
    (void)state;
    struct scoreboard *sb, *next;
    assert_int_equal(scoreboard_create(&sb, 3), 0);
    scoreboard_slot(sb, 2)->state = SLOT_READY;

    int fd = dup(scoreboard_fd(sb)); /* dup drops close-on-exec, as the master does before it executes itself */
    assert_int_equal(scoreboard_adopt(&next, fd), 0);
    assert_int_equal(scoreboard_size(next), 3);
    assert_int_equal(scoreboard_slot(next, 2)->state, SLOT_READY);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    scoreboard_slot(sb, 2)->busy_since_us = 7;
    assert_int_equal(scoreboard_slot(next, 2)->busy_since_us, 7);
    scoreboard_destroy(next);
    scoreboard_destroy(sb);
}

static void test_growing_keeps_old_slots_and_old_mappings(void **state)
{
    (void)state;
    struct scoreboard *sb, *worker;
    assert_int_equal(scoreboard_create(&sb, 2), 0);
    assert_int_equal(scoreboard_adopt(&worker, dup(scoreboard_fd(sb))), 0);
    struct slot *seat = scoreboard_slot(worker, 1);

    assert_int_equal(scoreboard_grow(sb, 1000), 0);
    assert_int_equal(scoreboard_size(sb), 1000);
    assert_int_equal(scoreboard_slot(sb, 999)->state, SLOT_FREE);
    seat->requests = 11;
    assert_int_equal(scoreboard_slot(sb, 1)->requests, 11);
    scoreboard_destroy(worker);
    scoreboard_destroy(sb);
}

static void test_foreign_file_is_refused_and_stays_open(void **state)
{
    (void)state;
    struct scoreboard *sb;
    int fd = memfd_create("other", MFD_CLOEXEC);
    assert_int_equal(scoreboard_adopt(&sb, fd), -EINVAL); /* empty */
    assert_int_equal(ftruncate(fd, 65536), 0);
    assert_int_equal(scoreboard_adopt(&sb, fd), -EINVAL); /* another layout */
    assert_int_equal(close(fd), 0);
    assert_int_equal(scoreboard_adopt(&sb, fd), -EBADF);
}

static void test_destroying_nothing_is_fine(void **state)
{
    (void)state;
    scoreboard_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_slots_are_free),
        cmocka_unit_test(test_each_slot_has_a_cache_line_of_its_own),
        cmocka_unit_test(test_parent_sees_what_its_child_wrote),
        cmocka_unit_test(test_next_image_sees_the_same_slots),
        cmocka_unit_test(test_growing_keeps_old_slots_and_old_mappings),
        cmocka_unit_test(test_foreign_file_is_refused_and_stays_open),
        cmocka_unit_test(test_destroying_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

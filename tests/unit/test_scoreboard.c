/* test_scoreboard.c - what several processes and images of the master see in the scoreboard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/buf.h"
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
        slot_count(scoreboard_slot(sb, 1), COUNT_requests, 42);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(scoreboard_slot(sb, 1)->counters[COUNT_requests], 42);
    scoreboard_destroy(sb);
}

static void test_next_image_sees_the_same_slots(void **state)
{
    (void)state;
    struct scoreboard *sb, *next;
    assert_int_equal(scoreboard_create(&sb, 3), 0);
    scoreboard_slot(sb, 2)->state = SLOT_READY;

    int fd = dup(scoreboard_fd(sb));
    assert_int_equal(scoreboard_adopt(&next, fd), 0);
    assert_int_equal(scoreboard_size(next), 3);
    assert_int_equal(scoreboard_slot(next, 2)->state, SLOT_READY);
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
    slot_count(seat, COUNT_requests, 11);
    assert_int_equal(scoreboard_slot(sb, 1)->counters[COUNT_requests], 11);
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

static void test_what_a_worker_counted_outlives_it(void **state)
{
    (void)state;
    struct scoreboard *sb, *next;
    struct tally t;
    assert_int_equal(scoreboard_create(&sb, 2), 0);
    for (int i = 0; i < 3; i++) { /* workers, one after the other */
        struct slot *s = scoreboard_slot(sb, 1);
        s->state = SLOT_READY;
        slot_count(s, COUNT_requests, 10);
        slot_took(s, 1000);
        slot_set(s, GAUGE_connections, 4);
        slot_show(s, 1, STR("GET"), STR("/"), STR(""));
        scoreboard_tally(sb, &t);
        assert_int_equal(t.counters[COUNT_requests], 10 * (i + 1)); /* not twice, not lost */
        scoreboard_vacate(sb, 1);
        scoreboard_tally(sb, &t);
        assert_int_equal(t.counters[COUNT_requests], 10 * (i + 1));
    }
    assert_int_equal(latency_count(t.latency), 3);
    struct shown shown;
    const struct slot *s = scoreboard_slot(sb, 1);
    assert_int_equal(s->state, SLOT_FREE);
    assert_int_equal(s->gauges[GAUGE_connections], 0);
    assert_int_equal(s->counters[COUNT_requests], 0);
    assert_false(slot_read_shown(s, &shown));

    assert_int_equal(scoreboard_adopt(&next, dup(scoreboard_fd(sb))), 0);
    scoreboard_tally(next, &t);
    assert_int_equal(t.counters[COUNT_requests], 30);
    scoreboard_destroy(next);
    scoreboard_destroy(sb);
}

/* Somebody who reads while slots are moved to the totals never sees a counter sink, nor anything twice. */
static void test_totals_never_jump(void **state)
{
    (void)state;
    struct scoreboard *sb; /* a large one, so that reading it takes a while */
    assert_int_equal(scoreboard_create(&sb, 100), 0);
    pid_t master = fork();
    assert_true(master >= 0);
    if (master == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            slot_count(scoreboard_slot(sb, 99), COUNT_requests, 1);
            usleep(20); /* workers do not end all the time */
            scoreboard_vacate(sb, 99);
            usleep(20);
        }
    }
    uint64_t last = 0;
    for (int i = 0; i < 2000; i++) {
        struct tally before, after;
        scoreboard_tally(sb, &before);
        scoreboard_tally(sb, &after);
        assert_true(before.counters[COUNT_requests] >= last);
        assert_true(after.counters[COUNT_requests] >= before.counters[COUNT_requests]);
        last = after.counters[COUNT_requests];
    }
    assert_int_equal(kill(master, SIGKILL), 0);
    assert_int_equal(waitpid(master, NULL, 0), master);
    scoreboard_destroy(sb);
}

static void test_another_build_gets_the_counts_as_text(void **state)
{
    (void)state;
    struct scoreboard *sb, *other;
    struct buf text = {0};
    struct tally t;
    assert_int_equal(scoreboard_create(&sb, 2), 0);
    slot_count(scoreboard_slot(sb, 0), COUNT_requests, 5);
    scoreboard_vacate(sb, 0);
    slot_count(scoreboard_slot(sb, 1), COUNT_requests, UINT64_C(1) << 40); /* of one that lives */
    slot_took(scoreboard_slot(sb, 1), 123456);
    scoreboard_event(sb, EVENT_reloads);
    scoreboard_begin_generation(sb);
    scoreboard_board(sb)->started = 1000;
    assert_int_equal(scoreboard_save(sb, &text), 0);
    scoreboard_destroy(sb);
    assert_int_equal(buf_puts(&text, "counter unheard_of 7\nwhatever\nlatency 1\ncounter requests\n"), 0);

    assert_int_equal(scoreboard_create(&other, 1), 0);
    scoreboard_restore(other, buf_cstr(&text));
    scoreboard_begin_generation(other);
    scoreboard_tally(other, &t);
    assert_int_equal(t.counters[COUNT_requests], (UINT64_C(1) << 40) + 5);
    assert_int_equal(t.latency[latency_bucket(123456)], 1);
    assert_int_equal(latency_count(t.latency), 1);
    assert_int_equal(scoreboard_board(other)->events[EVENT_reloads], 2);
    assert_int_equal(scoreboard_board(other)->generation, 2);
    assert_int_equal(scoreboard_board(other)->started, 1000);
    scoreboard_destroy(other);
    buf_finish(&text);
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
        cmocka_unit_test(test_what_a_worker_counted_outlives_it),
        cmocka_unit_test(test_totals_never_jump),
        cmocka_unit_test(test_another_build_gets_the_counts_as_text),
        cmocka_unit_test(test_destroying_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_recycle.c - when workers are due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/process/master_inside.h"
#include "server/process/recycle.h"
#include "server/process/reexec.h"
#include "tests/unit/wallclock.h"

#define DAY 86400

static int begin(void **state)
{
    (void)state;
    wallclock_reset();
    return 0;
}

static void test_clock_that_was_far_ahead_delays_no_daily_recycling(void **state)
{
    (void)state;
    struct settings s = {.recycle_at = (char *)"04:30"};
    struct master m = {.deps.settings = &s};
    ahead = 14 * DAY;
    recycle_init(&m);
    ahead = 0;
    recycle_tend(&m, clock_mono_us());
    assert_int_equal(m.recycle.daily, clock_next("04:30", time(NULL)));
}

static void test_clock_that_was_a_little_ahead_recycles_once(void **state)
{
    (void)state;
    struct settings s = {.recycle_at = (char *)"04:30"};
    struct master m = {.deps.settings = &s};
    ahead = clock_next("04:30", time(NULL)) - time(NULL);
    recycle_init(&m);
    time_t tomorrow = m.recycle.daily;
    ahead -= 60; /* as a clock that is set right: it has been half past four already */
    recycle_tend(&m, clock_mono_us());
    assert_int_equal(m.recycle.daily, tomorrow);
}

/* Of one worker, ourselves, which passed the limit so long after it was ready: the pause before the next is replaced.
 */
static uint64_t pause_of(uint64_t age_us)
{
    struct settings s = {.max_worker_memory = 1};
    struct child self = {.pid = getpid(), .slot = HANDOVER_NO_SLOT, .phase = CHILD_READY};
    uint64_t now = clock_mono_us();
    struct master m = {.deps.settings = &s, .stage = SERVING, .served = true, .wanted = 1};
    m.children = (struct children){.list = &self, .n = 1};
    assert_int_equal(scoreboard_create(&m.deps.scoreboard, 1), 0);
    recycle_init(&m);
    self.spawned_us = self.ready_us = now - age_us;
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(self.phase, CHILD_READY);
        recycle_tend(&m, now += SECOND_US);
    }
    assert_int_equal(self.phase, CHILD_STALE);
    scoreboard_destroy(m.deps.scoreboard);
    return m.recycle.pause_us;
}

static void test_leak_is_no_limit_that_is_too_small(void **state)
{
    (void)state;
    assert_int_equal(pause_of(40 * SECOND_US), 0);
}

static void test_limit_that_a_fresh_worker_passes_makes_a_pause(void **state)
{
    (void)state;
    assert_int_equal(pause_of(SECOND_US), 10 * SECOND_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_clock_that_was_far_ahead_delays_no_daily_recycling, begin),
        cmocka_unit_test_setup(test_clock_that_was_a_little_ahead_recycles_once, begin),
        cmocka_unit_test_setup(test_leak_is_no_limit_that_is_too_small, begin),
        cmocka_unit_test_setup(test_limit_that_a_fresh_worker_passes_makes_a_pause, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

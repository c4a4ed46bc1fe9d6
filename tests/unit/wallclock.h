/* wallclock.h - a wall clock that a test may set: time() in the place of the C library's, which what is tested asks. */
#pragma once

#include <stdlib.h>
#include <time.h>

static time_t ahead; /* of the truth: what the wall clock says */

time_t time(time_t *t)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += ahead;
    if (t) {
        *t = now.tv_sec;
    }
    return now.tv_sec;
}

/* Before each test: right, and in UTC. */
static inline void wallclock_reset(void)
{
    ahead = 0;
    setenv("TZ", "UTC0", 1);
    tzset();
}

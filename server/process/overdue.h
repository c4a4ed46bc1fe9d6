/* overdue.h - says in the log which request has been running for long: at half of --timeout, and when it is over.
 * The master measures and ends the worker (master.c); only the worker knows the request. Loop thread only. */
#pragma once

#include <stdint.h>
#include <uv.h>

struct exchange;

struct overdue {
    uv_timer_t timer;
    /* The call of the application that has been running longest, and since when (clock_mono_us); NULL: none is. */
    const struct exchange *(*oldest)(void *arg, uint64_t *since_us);
    void *arg;
    uint64_t limit_us;      /* 0: for ever */
    uint64_t warned, ended; /* `since_us` of the calls that were told of */
};

void overdue_init(struct overdue *o, uv_loop_t *loop, uint64_t limit_us,
                  const struct exchange *(*oldest)(void *arg, uint64_t *since_us), void *arg);

/* A call is running: looks at it when it is time. Stops by itself when none is. */
void overdue_watch(struct overdue *o);

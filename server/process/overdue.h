/* overdue.h - requests whose call of the application takes long: a warning at half of --timeout, the end when it is
 * over. Only the worker knows the request, and its loop turns also while the application computes. The master replaces
 * the worker, and ends it if it does not even say that much (master.c). Loop thread only. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct exchange;

/* A call of the application that is running. */
struct overdue_call {
    struct exchange *x;
    uint64_t since_us; /* clock_mono_us */
    pthread_t thread;  /* that runs it */
};

struct overdue_events {
    bool (*call)(void *arg, size_t i, struct overdue_call *out); /* the i-th; false: that one is not running */
    void (*over)(void *arg, const struct overdue_call *c);       /* its time is over, and the log has said so */
};

struct overdue_mark;

struct overdue {
    uv_timer_t timer;
    const struct overdue_events *events;
    void *arg;
    uint64_t limit_us;          /* 0: for ever */
    size_t calls;               /* that may run at once */
    bool any;                   /* the time of one was over */
    struct overdue_mark *marks; /* owned: one a call */
};

/* All pointers are borrowed. 0 or -ENOMEM. */
int overdue_init(struct overdue *o, uv_loop_t *loop, uint64_t limit_us, size_t calls,
                 const struct overdue_events *events, void *arg);
void overdue_finish(struct overdue *o);

/* A call is running: looks at it when it is time. Stops by itself when none is. */
void overdue_watch(struct overdue *o);

bool overdue_only(const struct overdue *o); /* calls are running, and the time of each is over */
bool overdue_all(const struct overdue *o);  /* as many as can run are running, and the time of each is over */

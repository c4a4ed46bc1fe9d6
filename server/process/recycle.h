/* recycle.h - which worker is to be replaced, when, and why. A part of the master.
 * A worker is due when it has done its max_requests, when its lifetime is over, once a day, or when it uses too much
 * memory. One is replaced at a time, and the replacement serves before it is told to finish. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct child;
struct master;

enum recycle_reason {
    RECYCLE_NONE,
    RECYCLE_REQUESTS, /* max_requests */
    RECYCLE_LIFETIME, /* worker_lifetime */
    RECYCLE_DAILY,    /* recycle_at */
    RECYCLE_MEMORY,   /* max_worker_memory */
    RECYCLE_BUDGET,   /* memory_budget */
};

struct recycle {            /* what recycle_init made */
    uint64_t sample_us;     /* when memory is looked at next; 0: never */
    time_t daily;           /* when all are due next; 0: never */
    unsigned over_budget;   /* samples in a row */
    size_t total;           /* the last sample of master and workers */
    uint64_t not_before_us; /* none is replaced for its memory: those before did not live long */
    uint64_t pause_us;      /* the last pause of that kind */
};

void recycle_init(struct master *m);
void recycle_ready(const struct master *m, struct child *c); /* it has begun to serve: its lifetime is known */

/* For the master's loop: looks who is due, and lets one of them be replaced. */
void recycle_tend(struct master *m, uint64_t now);
uint64_t recycle_deadline(const struct master *m, uint64_t now); /* when it wants to be called again, or 0 */

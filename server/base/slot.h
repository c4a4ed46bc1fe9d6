/* slot.h - what one worker shows: its state, what it counts, the request that it runs.
 * Lies in memory that is shared between processes (scoreboard.h). Written by one thread of the worker at a time, so
 * counting is a load and a store; read by anyone at any time, also when its writer was killed in the middle. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/base/latency.h"
#include "server/base/str.h"

enum slot_state {
    SLOT_FREE,
    SLOT_BOOTING,
    SLOT_READY,        /* whatever comes after it has been ready */
    SLOT_WANTS_RETIRE, /* serving, but it has done its max_requests and asks to be replaced */
    SLOT_DRAINING,
    SLOT_HUNG,      /* a call of the application takes too long: it is to be replaced, and finishes what else it has */
    SLOT_HUNG_ONLY, /* nothing else is left */
};

enum counter {
#define COUNTER(name, help) COUNT_##name,
#include "server/base/scoreboard.def"
    COUNTERS
};

enum gauge {
#define GAUGE(name, help) GAUGE_##name,
#include "server/base/scoreboard.def"
    GAUGES
};

/* A request as others see it: cut to what has room. */
struct shown {
    uint64_t began_us; /* clock_mono_us() at its first byte */
    uint8_t method_len, client_len;
    uint16_t target_len;
    bool cut; /* the target is longer */
    char method[16];
    char client[48]; /* an address; nothing on a unix socket */
    char target[176];
};

#define SLOW_MAX 5
#define SLOW_FOR_US (UINT64_C(3600) * 1000000) /* an hour later it is forgotten */

struct slow { /* a request that took long */
    struct shown request;
    uint64_t took_us, ended_us; /* clock_mono_us(); 0: none */
    int status;
};

struct slot {
    /* Also read by other workers, when they look for one that is free. */
    _Alignas(64) _Atomic pid_t pid; /* 0 when free */
    _Atomic int state;              /* enum slot_state */
    _Atomic uint64_t busy_since_us; /* clock_mono_us() when the application was entered; 0 while it is not running */
    _Atomic uint64_t gauges[GAUGES];

    _Alignas(64) _Atomic uint64_t counters[COUNTERS];
    _Alignas(64) _Atomic uint64_t latency[LATENCY_BUCKETS]; /* of the requests that were counted */

    _Alignas(64) _Atomic uint32_t shown_version; /* odd while `shown` is being written */
    struct shown shown;

    _Atomic uint64_t slow_from_us, slow_until_us; /* a request that takes longer, or ends later, belongs into `slow` */
    _Atomic uint32_t slow_version;                /* odd while `slow` is being written */
    struct slow slow[SLOW_MAX];

    /* Written by the master before the worker starts. */
    _Alignas(64) _Atomic uint64_t spawned_us; /* clock_mono_us() */
    _Atomic unsigned age;                     /* counts the workers of this server, from 1 */
    _Atomic unsigned generation;              /* of the release that it runs */
};

/* By the slot's worker, whose threads take turns. */
static inline void slot_count(struct slot *s, enum counter c, uint64_t n)
{
    uint64_t before = atomic_load_explicit(&s->counters[c], memory_order_relaxed);
    atomic_store_explicit(&s->counters[c], before + n, memory_order_relaxed);
}

static inline void slot_set_count(struct slot *s, enum counter c, uint64_t n) /* for what is counted elsewhere */
{
    atomic_store_explicit(&s->counters[c], n, memory_order_relaxed);
}

static inline void slot_took(struct slot *s, uint64_t us)
{
    _Atomic uint64_t *bucket = &s->latency[latency_bucket(us)];
    atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1, memory_order_relaxed);
    slot_count(s, COUNT_took_us, us);
}

static inline void slot_set(struct slot *s, enum gauge g, uint64_t n)
{
    atomic_store_explicit(&s->gauges[g], n, memory_order_relaxed);
}

void slot_show(struct slot *s, uint64_t began_us, struct str method, struct str target, struct str client);

/* By the worker: whether a request that ends now is one of the slowest of the last hour; and that it is kept then. */
static inline bool slot_is_slow(const struct slot *s, uint64_t took_us, uint64_t now_us)
{
    return took_us > atomic_load_explicit(&s->slow_from_us, memory_order_relaxed) ||
           now_us > atomic_load_explicit(&s->slow_until_us, memory_order_relaxed);
}

void slot_note_slow(struct slot *s, uint64_t began_us, uint64_t ended_us, int status, struct str method,
                    struct str target, struct str client);
/* By anyone: a copy of them; how many. */
size_t slot_read_slow(const struct slot *s, struct slow out[SLOW_MAX]);

/* By anyone. False: it is being written, or its worker was killed while it wrote, or nothing was ever shown. Whether it
 * still runs, busy_since_us says. */
bool slot_read_shown(const struct slot *s, struct shown *out);

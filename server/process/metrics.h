/* metrics.h - what the master tells statsd: how many workers there are, how many connections wait. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct listeners;
struct settings;
struct statsd;

struct metrics {                     /* zero it, but for the first two */
    struct statsd *statsd;           /* borrowed; NULL: tells nobody */
    const struct settings *settings; /* borrowed */
    size_t workers;                  /* as told last */
    uint64_t backlog_us;             /* when the queues are looked at again */
};

/* Once a turn of the master. */
void metrics_tell(struct metrics *m, size_t workers, const struct listeners *ls, uint64_t now);

/* When it wants to be called again, or 0. */
uint64_t metrics_deadline(const struct metrics *m);

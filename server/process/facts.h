/* facts.h - what is true of a master and its workers at one moment: for status.c and statusjson.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/scoreboard.h"

struct child;
struct master;

bool facts_serves(const struct master *m);       /* somebody answers requests */
const char *facts_state(const struct master *m); /* "serving", "starting", "reloading", "stopping" */
const char *facts_name(const struct master *m);  /* proc_name, or the application */

struct facts_worker {
    const struct child *child;
    const struct slot *slot; /* NULL: of another build, whose page we cannot read */
    const char *state;
    uint64_t busy_us; /* how long its oldest call has been running; 0: none is */
    bool shows;       /* `shown` is what it runs */
    struct shown shown;
    uint64_t age_us; /* of that request, from its first byte */
    size_t rss, pss; /* 0: not known */
};

struct facts_worker facts_worker(const struct master *m, const struct child *c);
uint64_t facts_gauge(const struct facts_worker *w, enum gauge g);
uint64_t facts_counter(const struct facts_worker *w, enum counter c);
uint64_t facts_sum(const struct master *m, enum gauge g); /* over all workers */

uint64_t facts_since(int64_t then);                     /* seconds, on the clock of the wall */
bool facts_file_size(const char *path, uint64_t *size); /* false: it is no file */

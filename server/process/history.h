/* history.h - the master notes each minute what has been counted, for the charts of the status page. */
#pragma once

#include <stdint.h>

struct scoreboard;

struct history {                   /* zero it, but for the first */
    struct scoreboard *scoreboard; /* borrowed; NULL: nobody wants to see it */
    int64_t minute;                /* that was noted last */
};

uint64_t history_deadline(const struct history *h); /* when it wants to be called again (clock_mono_us), or 0 */
void history_turn(struct history *h);

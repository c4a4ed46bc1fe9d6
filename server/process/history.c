/* history.c - the master notes each minute what has been counted. */
#include "server/process/history.h"

#include <time.h>

#include "server/base/clock.h"
#include "server/base/scoreboard.h"

uint64_t history_deadline(const struct history *h)
{
    struct timespec now;
    if (!h->scoreboard) {
        return 0;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    return clock_mono_us() + (uint64_t)(60 - now.tv_sec % 60) * 1000000 - (uint64_t)now.tv_nsec / 1000;
}

void history_turn(struct history *h)
{
    int64_t minute = (int64_t)time(NULL) / 60;
    if (h->scoreboard && minute != h->minute) {
        h->minute = minute;
        scoreboard_note_minute(h->scoreboard, minute);
    }
}

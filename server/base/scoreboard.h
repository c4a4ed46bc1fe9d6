/* scoreboard.h - a shared page: what each worker is doing and counts (slot.h), what the server has counted.
 * One mapping of a memory file, made by the master before it forks and inherited by every worker, and by the next
 * image of the master through its descriptor. Atomics only: no lock that a killed process could leave behind.
 * A slot is written by its worker, and by the master only while no worker sits in it; the board by the master. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/slot.h"

struct buf;
struct scoreboard; /* opaque */

enum event {
#define EVENT(name, help) EVENT_##name,
#include "server/base/scoreboard.def"
    EVENTS
};

/* Names, as in scoreboard.def. */
extern const char *const scoreboard_counters[COUNTERS], *const scoreboard_gauges[GAUGES],
                                                            *const scoreboard_events[EVENTS];

#define MINUTES 61 /* an hour, and the minute that is now */

struct minute {             /* what had been counted when a minute began */
    _Atomic int64_t number; /* of the minute, since 1970; 0: none */
    _Atomic uint64_t requests, errors;
};

/* Of the whole server, whatever images of the master and workers it has had. */
struct board {
    _Atomic int64_t started;     /* seconds since 1970 */
    _Atomic int64_t loaded;      /* when this generation began */
    _Atomic unsigned generation; /* from 1: how many releases the server has served */
    _Atomic uint64_t events[EVENTS];
    struct minute minutes[MINUTES]; /* each in the place of its number */
};

struct tally {
    uint64_t counters[COUNTERS];
    uint64_t latency[LATENCY_BUCKETS];
};

/* `slots` >= 1. 0 or -errno. */
int scoreboard_create(struct scoreboard **out, size_t slots);
/* Takes over `fd`, as scoreboard_fd gave it, with close-on-exec set. 0 or -errno, and then `fd` is still the caller's;
 * -EINVAL: another build of cwsgi with other slots made it. */
int scoreboard_adopt(struct scoreboard **out, int fd);
void scoreboard_destroy(struct scoreboard *sb); /* unmaps, closes; NULL is fine */

/* More slots behind those that are there. Who has mapped the file before keeps what he sees; pointers to slots of this
 * process go stale. 0 or -errno, and then nothing changed. */
int scoreboard_grow(struct scoreboard *sb, size_t slots);

int scoreboard_fd(const struct scoreboard *sb); /* borrowed; close-on-exec is set */
size_t scoreboard_size(const struct scoreboard *sb);
struct slot *scoreboard_slot(const struct scoreboard *sb, size_t i); /* i < size; good until scoreboard_grow */
struct board *scoreboard_board(const struct scoreboard *sb);         /* the same */

/* What was counted */
void scoreboard_event(struct scoreboard *sb, enum event e); /* one more. By the master */
/* Notes what has been counted so far as the beginning of minute `number`. By the master. */
void scoreboard_note_minute(struct scoreboard *sb, int64_t number);
void scoreboard_begin_generation(struct scoreboard *sb); /* by each image of the master */
/* The worker in this slot is gone: what it counted stays in the totals, the slot is free. By the master. */
void scoreboard_vacate(struct scoreboard *sb, size_t i);
/* All that was counted, by workers that live and by those that ended. By anyone. */
void scoreboard_tally(const struct scoreboard *sb, struct tally *out);

/* For an image of the master that cannot adopt the page, since another build made it: as text, a fact a line; what is
 * not known is left out. 0 or -ENOMEM. */
int scoreboard_save(const struct scoreboard *sb, struct buf *out);
void scoreboard_restore(struct scoreboard *sb, const char *text); /* into a new one */

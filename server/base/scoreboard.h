/* scoreboard.h - a shared page, one slot a worker: what each worker is doing.
 * One mapping of a memory file, made by the master before it forks and inherited by every worker, and by the next
 * image of the master through its descriptor. Atomics only: no lock that a killed process could leave behind.
 * A slot is written by its worker, and by the master only while no worker sits in it. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum slot_state {
    SLOT_FREE,
    SLOT_BOOTING,
    SLOT_READY,
    SLOT_WANTS_RETIRE, /* serving, but it has done its max_requests and asks to be replaced */
    SLOT_DRAINING,
    SLOT_HUNG,      /* a call of the application takes too long: it is to be replaced, and finishes what else it has */
    SLOT_HUNG_ONLY, /* nothing else is left */
};

struct slot {
    _Alignas(64) _Atomic pid_t pid; /* 0 when free */
    _Atomic int state;              /* enum slot_state */
    _Atomic uint64_t busy_since_us; /* clock_mono_us() when the application was entered; 0 while it is not running */
    _Atomic uint64_t requests;      /* finished since the worker started */
    _Atomic uint64_t connections;   /* open now */
    _Atomic uint64_t memory;        /* bytes, as the master has seen it last; 0: it does not look. By the master */
};

struct scoreboard; /* opaque */

/* `slots` >= 1. 0 or -errno. */
int scoreboard_create(struct scoreboard **out, size_t slots);
/* Takes over `fd`, as scoreboard_fd gave it. 0 or -errno, and then `fd` is still the caller's; -EINVAL: another build
 * of cwsgi with other slots made it. */
int scoreboard_adopt(struct scoreboard **out, int fd);
void scoreboard_destroy(struct scoreboard *sb); /* unmaps, closes; NULL is fine */

/* More slots behind those that are there. Who has mapped the file before keeps what he sees; pointers to slots of this
 * process go stale. 0 or -errno, and then nothing changed. */
int scoreboard_grow(struct scoreboard *sb, size_t slots);

int scoreboard_fd(const struct scoreboard *sb); /* borrowed; close-on-exec is set */
size_t scoreboard_size(const struct scoreboard *sb);
struct slot *scoreboard_slot(struct scoreboard *sb, size_t i); /* i < size; good until scoreboard_grow */

/* children.h - the master's table of its workers: who they are, how far they are.
 * A worker says itself in its slot of the scoreboard that it is ready; all else the master decides. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/process/recycle.h"

struct handover;
struct scoreboard;
struct slot;

enum child_phase { /* only ever rises */
                   CHILD_BOOTING,
                   CHILD_READY,
                   CHILD_STALE,   /* serves, but goes when a new one is ready: an older release, or recycled */
                   CHILD_LEAVING, /* was told to stop */
                   CHILD_HUNG,    /* a call in it takes too long: it finishes what else it has */
                   CHILD_ABORTED, /* hung, or silent for too long: SIGABRT was sent, or is about to be; then SIGKILL */
                   CHILD_KILLED,
};

struct child {
    pid_t pid;
    unsigned slot; /* HANDOVER_NO_SLOT: not in the scoreboard */
    unsigned age;
    enum child_phase phase;
    uint64_t spawned_us;
    uint64_t ready_us;       /* since when it is CHILD_READY */
    uint64_t hung_us;        /* since when it is CHILD_HUNG */
    uint64_t abort_at_us;    /* SIGABRT is due; 0: it is not, or was sent */
    uint64_t kill_at_us;     /* SIGKILL is due; 0: not told to go */
    enum recycle_reason due; /* why it is to be replaced */
    uint64_t due_us;         /* when its lifetime is over; 0: never */
    size_t memory;           /* bytes, at the last sample */
    unsigned over;           /* samples in a row that were too large */
    uint64_t over_us;        /* when the first of them was taken */
    bool reopen; /* SIGUSR1 came while it was booting, when it would have died of it: due when it is ready */
};

struct children {
    struct child *list; /* owned; oldest first */
    size_t n;
    struct scoreboard *scoreboard; /* borrowed */
};

void children_finish(struct children *cs);

/* Makes sure of room for one more, and of a free slot for it (the scoreboard grows). 0 or -errno. */
int children_reserve(struct children *cs, unsigned *slot);
void children_label(const struct children *cs, unsigned slot, unsigned age); /* who will sit there: before the fork */
void children_add(struct children *cs, const struct child *c);               /* after children_reserve */
void children_remove(struct children *cs, struct child *c);                  /* and frees its slot */

size_t children_count(const struct children *cs, enum child_phase phase);
struct child *children_oldest(const struct children *cs, enum child_phase phase); /* NULL: none */
struct child *children_find(const struct children *cs, pid_t pid);                /* NULL: none */
struct slot *children_slot(const struct children *cs, const struct child *c);     /* NULL: none */

/* True when it became ready just now. Also sees whether it hangs. */
bool children_read_slot(const struct children *cs, struct child *c);
bool children_hangs_only(const struct children *cs, const struct child *c); /* CHILD_HUNG, and has nothing else to do */

/* When the worker will have been silent for too long, or 0: booting for longer than `timeout_us` (0: for ever); or in
 * the application, without telling by itself that this takes too long. One that hangs is not looked at again. */
uint64_t children_silence_end(const struct children *cs, const struct child *c, uint64_t timeout_us);

void child_move(struct child *c, enum child_phase to);
void child_signal(const struct child *c, int sig);

/* What waitpid said, in gunicorn's words; and which request it was running, if it did not end by itself. */
void children_log_end(const struct children *cs, const struct child *c, int status);

/* The table for the next image (workers; owned by the caller), and from the image before us: those that serve are
 * stale, the others, of no use any more, are leaving and still have to be told. 0 or -errno. */
int children_hand_over(const struct children *cs, struct handover *h);
int children_adopt(struct children *cs, const struct handover *h);

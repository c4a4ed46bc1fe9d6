/* doors.h - the listeners as one worker watches them: accept, pause, give up.
 * Giving up works from a signal handler, too: a worker whose thread is busy with the application still frees the port
 * at once, and still answers what was queued there. Loop thread only, but for doors_give_up. */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct listener;
struct listeners;
struct peer;

struct doors;

struct doors_events {
    /* A connection was accepted: the descriptor is the callee's. 0, or -errno when there is no room for it. */
    int (*accepted)(void *arg, int fd, const struct listener *l, const struct peer *peer);
    bool (*has_room)(void *arg); /* asked before each accept; when false, the doors pause until doors_resume */
    void (*exhausted)(void *arg, int error); /* no descriptors or no memory (-errno): the doors pause, too */
};

/* `ls`, `events` and `arg` are borrowed. 0 or -errno; on failure *out is to be closed all the same, if not NULL. */
int doors_open(struct doors **out, uv_loop_t *loop, const struct listeners *ls, const struct doors_events *events,
               void *arg);
void doors_resume(struct doors *d); /* there may be room again; nothing when they are not paused */

/* In the next turn of the loop several connections may be accepted, as its last one took long: others are busy, too, or
 * they would have accepted what waits. */
void doors_hurry(struct doors *d, bool hurry);

/* Stops listening in this process: the sockets are closed behind their numbers (which stay taken until the listeners
 * are closed). With `drain`, the connections that wait there are accepted and kept for doors_close. Async-signal-safe,
 * and harmless when called again. */
void doors_give_up(struct doors *d, bool drain);

/* Gives up if that was not done, and hands the connections that were kept to `accepted`. Once. */
void doors_close(struct doors *d);
void doors_destroy(struct doors *d); /* after the loop's end; NULL is fine */

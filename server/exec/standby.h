/* standby.h - a second thread that takes the loop over while the application computes for long.
 *
 * One thread, the loop's own, turns the loop and runs the application. Before each call of the application it lends the
 * loop, and after it takes it back: two atomic operations, if the call is short. If it is not back after some
 * milliseconds, the standby thread turns the loop in its place. Whoever has the loop, one thread at a time, is "the
 * loop thread" of all other comments.
 * The standby thread never holds the interpreter, and takes no signals. docs/decisions/0003-standby.md says why. */
#pragma once

#include <stdbool.h>
#include <uv.h>

struct standby; /* opaque */

struct standby_events {
    void (*taken)(void *arg); /* the standby thread has the loop now */
    void (*turn)(void *arg);  /* turn the loop once, waiting for something to happen; no application */
};

/* Starts the thread. `loop`, `events` and `arg` are borrowed. 0 or -errno; then *out is to be destroyed all the same.
 */
int standby_create(struct standby **out, uv_loop_t *loop, const struct standby_events *events, void *arg);
/* The loop's own thread has the loop; the loop's handles have been closed. NULL is fine. */
void standby_destroy(struct standby *s);
void standby_stop(struct standby *s); /* ends the thread: before the loop closes its handles; NULL is fine */

/* All that follow: the loop's own thread; NULL is fine and does nothing. */
void standby_begin(struct standby *s); /* calls of the application follow: they are timed together */
void standby_end(struct standby *s);
void standby_lend(struct standby *s);    /* between begin and end */
bool standby_reclaim(struct standby *s); /* false: the standby thread has it, and standby_wait is due */
void standby_wait(struct standby *s);    /* until its turn is over: not long, since it waits for nobody */

/* For whoever has the loop: is it the standby thread? */
bool standby_has_loop(const struct standby *s);

/* pool.h - N threads run the application; output is posted to the loop; a slow client makes its thread wait.
 *
 * The loop puts exchanges that are ready into one queue; the thread that has the interpreter takes one, and runs it
 * from begin to end. One thread at a time waits for the interpreter, with nothing in hand: it goes on as soon as the
 * other waits for something else, or has had its turn. Output is posted to the loop, which is woken, sends it, and lets
 * the thread go on once the client can take more or has left: one of the two has the response at any time (exchange.h
 * says which). A response that is complete is posted before its iterator or close() is called again, so that the client
 * need not wait for them; a second errand gives the exchange back.
 *
 * The loop's thread never holds the interpreter here. What its chunk releases put aside is reaped by the threads.
 * All functions are for the loop thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct app;
struct conns;
struct exchange;
struct executor;
struct pool; /* opaque */
struct slot;

/* Starts the threads; they wait until the caller has given the interpreter up. `app`, `slot` (told how long the oldest
 * of the running calls has been running), `loop` and `conns` (the clients of what it is given: corked while answers are
 * sent; may be NULL) are borrowed. 0 or -errno; then, too, *out (NULL if there was no
 * memory even for that) is to be stopped and destroyed. */
int pool_create(struct pool **out, struct conns *conns, uv_loop_t *loop, unsigned threads, struct app *app,
                struct slot *slot);

unsigned pool_threads(const struct pool *p);    /* that could be started */
struct executor *pool_executor(struct pool *p); /* what the protocols see */
bool pool_is_idle(const struct pool *p);        /* nothing is lent to it */
/* What the i-th thread (from 0) runs, since when (clock_mono_us), and the thread; NULL: nothing. It stays while the
 * loop does not turn. */
struct exchange *pool_call(struct pool *p, size_t i, uint64_t *since_us, pthread_t *thread);
void pool_tend(struct pool *p); /* once a turn of the loop */

/* Ends the threads, the caller not holding the interpreter. False, and nothing has happened, while something is lent:
 * a thread may be in the application for ever. */
bool pool_stop(struct pool *p);

void pool_destroy(struct pool *p); /* after pool_stop, and after the loop has closed its handles; NULL is fine */

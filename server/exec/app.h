/* app.h - the application as an executor sees it: plugged in by wsgi/.
 *
 * One exchange goes: begin, next as often as it answers APP_MORE (and the client can take more), end. `end` is called
 * exactly once for each begin, whatever happened, also after APP_FAILED and for an aborted exchange.
 * begin, next, end and reap are called only between attach and detach, on the thread that attached; those of one
 * exchange all on one thread. */
#pragma once

struct exchange;

enum app_result {
    APP_MORE,   /* call next again */
    APP_WHOLE,  /* the same, but the response is complete already: response_end was called, and it is not touched any
                 * more. Whatever comes of next then, the client has its answer */
    APP_DONE,   /* the response is complete: response_end was called */
    APP_FAILED, /* it cannot be completed; the error was logged */
};

struct app {
    void (*attach)(struct app *a); /* takes the interpreter for this thread */
    void (*detach)(struct app *a); /* gives it up: the thread is about to wait */
    void (*leave)(struct app *a);  /* the thread has detached and will not attach again: what is kept for it goes */

    enum app_result (*begin)(struct app *a, struct exchange *x); /* calls the application */
    enum app_result (*next)(struct app *a, struct exchange *x);  /* one more piece of its body */
    void (*end)(struct app *a, struct exchange *x);              /* close(), and drop all references */

    /* Frees what chunk releases have put aside while the interpreter was not held (chunk.h). `reap_pending` may be
     * asked at any time, by any thread. */
    int (*reap_pending)(const struct app *a);
    void (*reap)(struct app *a);
};

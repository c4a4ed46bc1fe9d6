/* exchange.h - one request and its response: states, who holds it.
 *
 * An exchange belongs to its protocol (http1), which creates it, fills the request, and hands it to the executor with
 * exchange_submit. From then on it is *lent*: the executor runs the application, which fills the response. The
 * executor gives it back with exchange_done, after which the protocol may free it. If the client leaves meanwhile,
 * the protocol marks it aborted; the executor sees that between two steps and gives it back early.
 * There is no reference count: one holder at a time.
 *
 * Threads. The application may run on a thread of its own (pool.h). While x is lent, then:
 *   request, body, peer   are only read, by both sides
 *   response, arena       belong to the application's thread, and to the loop from each call of exchange_flush until it
 *                         returns. After the last of it the thread hands them over for good: it only reads the fields
 *                         (and counts in dropped_bytes what comes too late)
 *   aborted               is written by the loop, and read by both
 *   app, told, kept, socket  belong to the application's thread
 *   all else              belongs to the loop, or is under the executor's lock
 *
 *   RECEIVING -> READY -> RUNNING -> DONE            the usual way
 *   RECEIVING -> DONE                                refused, or the client left
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/arena.h"
#include "server/base/clock.h"
#include "server/http/request.h"
#include "server/http/response.h"

struct body;
struct exchange;
struct peer;
struct slot;

enum exchange_state { EXCHANGE_RECEIVING, EXCHANGE_READY, EXCHANGE_RUNNING, EXCHANGE_DONE };

/* What the protocol does for the executor. Loop thread. */
struct exchange_ops {
    void (*flush)(struct exchange *x); /* there is output in x->response: send what the client takes */
    void (*hold)(struct exchange *x);  /* see exchange_hold */
    void (*let_go)(struct exchange *x);
    bool (*wants_more)(const struct exchange *x); /* true while little enough is queued that more may be made */
    void (*done)(struct exchange *x, bool ok);    /* see exchange_done */
    void (*give_up)(struct exchange *x, int status, const char *message); /* see exchange_give_up */
};

/* What runs the application: plugged by exec/. */
struct executor {
    /* Called on the loop thread, never from inside the application. */
    void (*submit)(struct executor *e, struct exchange *x); /* the request is complete; x is lent from here on */
    void (*resume)(struct executor *e, struct exchange *x); /* wants_more became true, or x was aborted */
    /* Called on the thread that runs the application for x, which holds the interpreter: see exchange_flush. */
    void (*flush)(struct executor *e, struct exchange *x);
    /* On the loop thread: x has become a conversation, and how long the application takes for it is not limited any
     * more. NULL: it is. */
    void (*unlimit)(struct executor *e, struct exchange *x);
    uint64_t round; /* counts how often it has run all that was ready; an executor that does not count leaves it at 0 */
};

struct wanted {
    const struct str *names; /* borrowed */
    size_t n;
};

struct exchange {
    struct arena arena;
    struct arena kept; /* what the application's thread keeps of a call that ends */
    struct request request;
    struct response response;
    struct body *body;       /* owned; NULL when there is none */
    const struct peer *peer; /* borrowed: the connection's; or a copy in the arena */
    bool peer_kept;          /* it is a copy */
    bool failed;             /* given back with an answer that could not be completed */
    int socket;              /* owned, until somebody takes it; -1: none. On which the application may take the
                              * connection over: the end of a tunnel (tunnel.h) */
    enum exchange_state state;
    atomic_bool aborted;                      /* the client left: nothing more can be sent */
    bool told;                                /* the application's side has given the access log its record */
    uint64_t started_us;                      /* clock_mono_us() at the first byte of the request */
    uint64_t ready_us, begun_us, answered_us; /* when it was complete, when the application was called for it, and when
                                               * the answer began: see exchange_note; 0: did not happen */
    uint64_t bytes_in;                        /* of the request, as they came */
    uint64_t nth;                             /* request of its connection, from 1 */
    uint64_t answered_round;                  /* of the executor, when the answer before it left; or it connected */
    bool wants_times;                         /* somebody will look at the moments above */
    const struct wanted *wanted;              /* borrowed: which variables of WSGI the access log shows; NULL: none */
    struct str *variables; /* in `kept`: these, as the application has left them; no text: it had none
                            * of that name. NULL: no application has ended */

    const struct exchange_ops *ops; /* the protocol's */
    void *protocol;                 /* the protocol's own state for this exchange */
    void *app;                      /* the application side's own state between begin and end; NULL outside */

    /* While it is lent, the executor's. */
    struct executor *executor; /* borrowed: who it was submitted to */
    void *runner;              /* borrowed: the thread that runs the application for it; NULL: none, or the loop's */
    unsigned errands;          /* what the loop is asked to do for it (pool.c) */
    struct exchange *next;     /* the holder's list: the executor's queue while lent, the protocol's free list else */
    bool queued;               /* in the executor's queue now */
};

void exchange_init(struct exchange *x);
/* As after init, with its memory kept for the next request. */
void exchange_reset(struct exchange *x);
void exchange_finish(struct exchange *x); /* frees what it owns, not itself */

/* Takes the time of a moment, if anybody will look at it. */
static inline void exchange_note(const struct exchange *x, uint64_t *moment)
{
    if (x->wants_times) {
        *moment = clock_mono_us();
    }
}

/* For the protocol. */
void exchange_submit(struct exchange *x, struct executor *e);
void exchange_abort(struct exchange *x, struct executor *e);

/* Makes `peer` a copy, if it is not one yet: x outlives its connection, and who sent it must be known until the end. */
void exchange_keep_peer(struct exchange *x);

/* For the application's side: hands over what the response holds. Where the application has threads of its own, the
 * caller waits until the client can take more (or has left), without the interpreter. */
void exchange_flush(struct exchange *x);

/* For the executor, loop thread. */
void exchange_start(struct exchange *x); /* READY -> RUNNING: the application is about to be called */
void exchange_show(const struct exchange *x, struct slot *slot); /* to whoever asks what the worker is doing */
void exchange_note_slow(const struct exchange *x, struct slot *slot, uint64_t now_us); /* it has just ended */
void exchange_send(struct exchange *x); /* what the response holds goes to the protocol */
/* From now on what is sent is gathered, so that small pieces go out together: until the response is finished, or they
 * are let go, which may be while the application is being called. */
void exchange_hold(struct exchange *x);
void exchange_let_go(struct exchange *x);
bool exchange_wants_more(const struct exchange *x);
/* The application does not come back in time: the client gets `status` (if it has the head already: a connection that
 * is broken off), the access log its line, and x is aborted. It stays lent until exchange_done, perhaps for ever. */
void exchange_give_up(struct exchange *x, int status, const char *message);
/* The holder gives it back: `ok` false means that the response cannot be completed (500 if nothing was sent yet, else
 * the connection is broken off). The exchange must not be touched afterwards. */
void exchange_done(struct exchange *x, bool ok);

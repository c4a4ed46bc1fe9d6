/* inline.h - runs the application on the loop's thread, one step each time the client can take more.
 * While a call of the application lasts, another thread may have the loop (standby.h).
 * Exchanges that are ready are run between two turns of the loop, never inside a libuv callback. */
#pragma once

#include <stdbool.h>

#include "server/http/exchange.h"

struct app;
struct conns;
struct slot;
struct standby;

struct inline_executor {
    struct executor base;          /* what the protocols see */
    struct app *app;               /* borrowed */
    struct slot *slot;             /* borrowed: shows what the application is doing, and since when */
    struct standby *standby;       /* borrowed; NULL: the loop waits while the application computes */
    struct conns *conns;           /* borrowed: corked while short calls follow each other; NULL: never */
    struct exchange *first, *last; /* queue, linked by exchange.next */
    struct exchange *early;        /* the last of those in the queue that come first; NULL: none */
    struct exchange *running;      /* in a step now */
    uint64_t longest_us;           /* of the recent calls: it fades with each that is shorter */
    size_t waiting;                /* in the queue, and not begun */
    bool holding;                  /* its output is held, so that small pieces go out together */
    bool slow;                     /* the loop was taken over in this step: each piece is sent by itself */
    bool in_round;                 /* inside inline_run */
    bool long_round;               /* the last one kept the network waiting */
    bool attached;                 /* this thread holds the interpreter */
};

/* The calling thread holds the interpreter, and so it is attached at first. */
void inline_init(struct inline_executor *e, struct app *app, struct slot *slot);

bool inline_has_work(const struct inline_executor *e);

/* Runs the exchanges that were queued when it was called, and what a client has pipelined behind them, for a few
 * milliseconds at most: then there is work still. Attaches when there is work. */
void inline_run(struct inline_executor *e);

/* For the standby thread, which has just got the loop: sends what was held, and what is corked. */
void inline_taken(struct inline_executor *e);

void inline_attach(struct inline_executor *e); /* nothing when it is attached */
void inline_detach(struct inline_executor *e); /* before the thread waits */

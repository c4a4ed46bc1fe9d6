/* lend.h - body bytes lent to the server until the socket has taken them.
 * The server gives a chunk back on its loop thread, which may or may not hold the interpreter then. If it does, the
 * object is let go at once; if not, it waits on a list until lend_reap.
 * All functions but lend_pending and lend_attached need the interpreter. */
#pragma once

#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>

struct lent;
struct response;

struct lender {
    struct lent *_Atomic waiting; /* given back without the interpreter; owned */
    struct lent *spare;           /* owned: free list */
};

void lend_finish(struct lender *l); /* reaps; nothing may be lent any more */

/* For the thread that calls: it has taken the interpreter, or is about to give it up. */
void lend_attached(bool yes);

/* Puts bytes (exactly that type) into the response's queue. 0, or -1 with MemoryError set. */
int lend_push(struct lender *l, struct response *r, PyObject *bytes);

bool lend_pending(const struct lender *l); /* any thread, at any time */
void lend_reap(struct lender *l);

/* receive.h - one request of HTTP/1.1 as it comes: its bytes judged, parsed, and put into an exchange.
 * What is refused is refused at a byte, so that the verdict does not depend on how the bytes were cut; and as much of
 * the request line as came before that byte is known. Loop thread only. */
#pragma once

#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>

#include "server/base/buf.h"
#include "server/http/chunkscan.h"
#include "server/http/headscan.h"

struct exchange;
struct http;

struct receiver {
    const struct http *http; /* borrowed */
    struct exchange *x;      /* borrowed: what is being filled */
    bool trusted;            /* the client is a front end: see forward.h */
    bool in_body;            /* the head is complete and was accepted */
    int status;              /* why it is refused: what to answer with, */
    const char *reason;      /* and one line (static text) */
    struct buf head;         /* owned: a head that is not complete yet */
    size_t n_headers_max;    /* room in x->request.headers */
    struct headscan scan;
    struct chunkscan chunks; /* of a body that comes in chunks */
    llhttp_t parser;
};

enum received {
    RECEIVED_SOME,    /* there is more to come */
    RECEIVED_HEAD,    /* the head is complete, and a body has to follow */
    RECEIVED_WHOLE,   /* the request is complete */
    RECEIVED_REFUSED, /* see `status` and `reason` */
    RECEIVED_FAILED,  /* there is no memory even for that */
};

/* A receiver that fills `x` (just reset), in its arena. NULL when memory is short. */
struct receiver *receive_begin(const struct http *http, bool trusted, struct exchange *x);

/* Takes bytes of the request: the first `*used`, more than none unless it is refused. */
enum received receive(struct receiver *r, const char *data, size_t len, size_t *used);

/* No more will come of it, or be taken: fills x->request with what is known by now, for the answer and the log. Needed
 * at the end of a receiver that did not say RECEIVED_WHOLE; harmless when called again. */
void receive_give_up(struct receiver *r);

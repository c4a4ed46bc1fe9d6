/* http1_inside.h - what the two files that make up an HTTP/1.1 connection share: http1.c (life, requests) and
 * http1out.c (answers). For nobody else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/http/framing.h"
#include "server/net/chunk.h"

struct conn;
struct exchange;
struct http;
struct receiver;
struct takeover;

enum phase {
    PHASE_IDLE, /* between requests */
    PHASE_HEAD, /* some of a request head has arrived */
    PHASE_BODY,
    PHASE_ANSWER, /* the request is complete or refused; later bytes wait in `ahead` */
    PHASE_GONE,   /* the connection is closed; we wait for the executor to give the exchange back */
};

struct http1 {
    struct http *http;  /* borrowed */
    struct conn *conn;  /* borrowed; NULL in PHASE_GONE */
    struct exchange *x; /* owned; NULL when idle. Lent to the executor while it is READY or RUNNING */
    enum phase phase;
    bool trusted;                          /* the client is a front end: see forward.h */
    bool fresh;                            /* no request has come over this connection yet */
    bool half_closed;                      /* the client will send no more */
    bool keep_alive;                       /* after this answer */
    bool unread;                           /* the client may still be sending what nobody will read: close with care */
    enum framing framing;                  /* of the answer */
    bool answered;                         /* the last byte of the answer was handed to the connection */
    bool sent;                             /* ... and was taken by the socket */
    bool released;                         /* the executor has given the exchange back, or never had it */
    bool given_up;                         /* its line is in the access log already, though the executor still has it */
    bool holding;                          /* small pieces are gathered */
    bool head_held;                        /* the first of `held` is the head */
    uint64_t given;                        /* bytes of the answer's body that the connection was given */
    uint64_t idle_since_ms;                /* in PHASE_IDLE, unless it is fresh */
    uint64_t answered_round;               /* the executor's round at that time */
    uint64_t body_began_ms, body_received; /* of this request; bytes as they came, framing included */
    uint64_t requests;                     /* so far */
    struct buf ahead;                      /* owned: bytes of later requests */
    struct chunkq held;                    /* owned: of the answer, not framed yet */
    struct receiver *receiver;             /* arena of x: only while the request is coming; NULL after it */
    struct takeover *takeover;             /* owned: of x; NULL: the application cannot take the connection over */
};

void http1_destroy(struct http1 *h);
bool http1_is_lent(const struct http1 *h);
void http1_end_exchange(struct http1 *h); /* its line for the access log, and back to where it came from */
/* We end the connection though the client would go on: its next request may be on its way, and a plain close would
 * answer that with a reset, which takes this answer with it. */
void http1_end_after_answer(struct http1 *h);
void http1_feed_ahead(struct http1 *h); /* takes the next request from `ahead`; may close the connection */
uint64_t http1_now_ms(void);

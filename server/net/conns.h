/* conns.h - all connections of a worker: who is looked at when, who has to leave. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "server/base/buf.h"
#include "server/net/trouble.h"

struct conn;
struct protocol;
struct proxy;

struct conn_limits {
    size_t max;            /* connections at once: --worker-connections */
    uint64_t handshake_ms; /* for the whole TLS handshake; for a PROXY header */
    uint64_t linger_ms;    /* for a client to read our last words */
    size_t send_rate;      /* bytes a second that a client must take; 0: none */
};

enum cork {
    CORK_NONE,
    CORK_LAST, /* what conn_last has announced */
    CORK_ALL,
};

/* All connections of a worker. */
struct conns {
    uv_loop_t *loop;
    const struct protocol *protocol; /* borrowed */
    const struct proxy *proxy;       /* borrowed: set after conns_init; NULL: no PROXY headers are read */
    void *context;                   /* borrowed: for protocol->open */
    struct conn_limits limits;
    size_t count;                                     /* open now */
    uint64_t accepted, handshakes, handshakes_failed; /* so far */
    size_t queued;                                    /* bytes that wait to be sent, over all connections */
    void (*on_room)(void *arg);                       /* a connection went away: accepting may go on; may be NULL */
    void *on_room_arg;
    bool draining;             /* idle connections are closed, others after their answer */
    struct conn *first, *last; /* list of all, by last use: the freshest first */
    uv_timer_t sweep;          /* looks at deadlines while there are connections */
    char *read_buffer;         /* owned: lent to one read at a time, so that an idle connection holds none */
    char *plain_buffer;        /* owned: what TLS made of it */
    char *gather_buffer;       /* owned: small pieces on their way into one TLS record */
    enum cork corked;          /* see conns_cork */
    struct conn *first_corked, *last_corked;
    struct trouble trouble; /* clients that did not get as far as a request */
    struct buf spare;       /* lent to the connection that has ciphertext to send */
};

int conns_init(struct conns *cs, uv_loop_t *loop, const struct protocol *protocol, void *context,
               const struct conn_limits *limits);
/* Closes every connection at once. The loop must run until `count` is 0 and handles are closed, before conns_finish. */
void conns_close_all(struct conns *cs);
void conns_drain(struct conns *cs); /* see `draining` */
/* The application will answer no more: clients that wait are told. `begun`: also those that have a part already. */
void conns_give_up(struct conns *cs, bool begun);

/* What conn_send is given from now on, or only what conn_last announces, waits for conns_uncork, unless it is large: so
 * that answers to several clients are written one right after the other. Writing to a client that waits wakes it, and
 * where it is on this machine (a proxy, a test) that costs as much as the rest of a small answer; once awake, it finds
 * the others without. Both: NULL is fine, and so is a call for nothing. */
void conns_cork(struct conns *cs, enum cork what);
void conns_uncork(struct conns *cs); /* may close connections, and call their protocols' `drained` */

bool conns_shed(struct conns *cs);  /* makes room: ends the one that is idle, or lingers, longest; false: none is */
void conns_watch(struct conns *cs); /* keeps the sweep going: on_room is called by it, too */
void conns_sweep_soon(struct conns *cs); /* deadlines are looked at in the next turn of the loop */
void conns_finish(struct conns *cs);     /* frees the buffers: after the loop's end */

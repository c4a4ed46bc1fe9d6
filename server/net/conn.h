/* conn.h - one client socket: read, write, deadlines, close.
 *
 * A conn is created for an accepted socket and belongs to its struct conns (all connections of a worker). It carries
 * plain bytes for a protocol, whether they travel in the clear or through TLS. Loop thread only.
 *
 * Life: PREFACE (PROXY protocol only) -> HANDSHAKE (TLS only) -> OPEN -> CLOSING (the queue is being sent, nothing more
 * is taken) -> LINGER (we have said all and shut our side; what still arrives is thrown away, so that the client reads
 * our answer instead of a reset: RFC 9112 9.6) -> CLOSED. The protocol's `closed` is called once, when the conn enters
 * CLOSED; it must not use the conn afterwards. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/net/chunk.h"
#include "server/net/peer.h"

struct conn;
struct conns;
struct tls_context;
struct uv_loop_s;

/* What speaks over a connection: plugged by http/. In every callback but `closed` the conn may be closed. */
struct protocol {
    void *(*open)(void *context, struct conn *c); /* bytes may flow; NULL: no memory, the conn is closed */
    /* Instead: the client has sent something, but not what comes before (TLS, PROXY). status: as HTTP would say why; 0:
     * it has left. May be NULL. */
    void (*unborn)(void *context, const struct peer *peer, int status);
    void (*data)(void *p, const char *data, size_t len);     /* bytes arrived: borrowed during the call */
    void (*refuse)(void *p, int status, const char *reason); /* instead of the first `data`: who it is cannot be said */
    void (*eof)(void *p);                                    /* the client will send no more; it may still read */
    void (*drained)(void *p);           /* of what was queued, so much is sent that conn_send may be called again */
    void (*expired)(void *p);           /* the deadline has passed; it is not set any more */
    bool (*is_idle)(const void *p);     /* it has served, and nothing is on now: closing it hurts nobody */
    bool (*will_answer)(const void *p); /* a whole request is with the application */
    void (*drain)(void *p);             /* the worker is leaving: close now if nothing is on, else after the answer */
    /* The application will not answer: the client is told. `begun`: also one that has a part of the answer. */
    void (*give_up)(void *p, bool begun);
    void (*closed)(void *p);
};

#define CONN_GRACE_MS (10 * 1000) /* before a minimum rate is asked for */

/* Takes an accepted socket over (closed on failure). 0 or -errno. `tls`: NULL for plain. */
int conn_open(struct conns *cs, int fd, bool is_unix, const struct peer *peer, struct tls_context *tls);

const struct peer *conn_peer(const struct conn *c); /* lives as long as the conn */
struct uv_loop_s *conn_loop(const struct conn *c);
bool conn_draining(const struct conn *c);
bool conn_has_input(const struct conn *c); /* the client has sent what was not read yet */
bool conn_broken(const struct conn *c);    /* the socket has failed: nothing that is sent will arrive any more */

/* Sends the chunks in order, behind what is queued. Takes all of them over: each is released once it is sent, some of
 * them perhaps during this call. On failure of the socket the connection closes itself a little later (never
 * inside this call). The array is the caller's, and scratch afterwards. */
void conn_send(struct conn *c, struct chunk *chunks, size_t n);
/* May more be made for this client now? Yes while little waits for it, and for all clients of the worker together. */
bool conn_wants_more(const struct conn *c);

/* Milliseconds from now until `expired` is called (some 500 ms late at the most); 0: no deadline. */
void conn_set_deadline(struct conn *c, uint64_t ms);

void conn_pause(struct conn *c); /* no `data` until conn_resume; what the kernel buffers then slows the client */
void conn_resume(struct conn *c);

/* Sends what is queued, then closes; with `linger`, or when bytes of the client were not read, in the way that lets a
 * client that is still sending read it. */
void conn_close(struct conn *c, bool linger);
/* What conn_send is given next is the last: it may wait for the end, while this turn of the loop lasts. With TLS,
 * close_notify goes with it. */
void conn_last(struct conn *c);
/* ... and conn_close will be called as soon as it is sent: the end shares a packet with it, where it is not sent yet.
 */
void conn_ends(struct conn *c);
void conn_abort(struct conn *c); /* closes now, dropping what is queued: the client sees a reset or a cut */
/* From now on the end of the connection tells the client that it has all: any end but by conn_close is a reset. */
void conn_end_tells(struct conn *c);

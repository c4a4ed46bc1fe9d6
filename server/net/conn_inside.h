/* conn_inside.h - what the three files that make up a connection share: conn.c (life and reading), connout.c (writing)
 * and conns.c (all of a worker). For nobody else. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "server/base/buf.h"
#include "server/net/chunk.h"
#include "server/net/conn.h"
#include "server/net/conns.h"
#include "server/net/peer.h"

#define CONN_PIECE (64 * 1024) /* that is read, or copied from a file, at once */

struct tls;

#define CONN_WRITE_BUFS 16

enum conn_state { CONN_PREFACE, CONN_HANDSHAKE, CONN_OPEN, CONN_CLOSING, CONN_LINGER, CONN_BROKEN, CONN_CLOSED };

/* One uv_write under way: only while the socket is full. */
struct writer {
    uv_write_t req;
    uv_buf_t bufs[CONN_WRITE_BUFS];
    size_t n_bufs;
    size_t file_bytes; /* > 0: a piece of the file range at the head of the queue, copied into `piece` */
    char piece[];
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } u;
    struct conns *all;
    struct conn *prev, *next;
    struct conn *prev_corked, *next_corked; /* while `in_cork` */
    struct tls *tls;                        /* owned; NULL: plain */
    void *p;                                /* the protocol's state; NULL before open and after closed */
    struct writer *writer;                  /* owned; NULL: nothing under way */
    struct buf preface;  /* owned: what has come while it cannot be told whether it is a PROXY header */
    struct chunkq queue; /* owned: what is not sent yet */
    struct buf cipher;   /* owned: encrypted, not sent, from `cipher_sent` on */
    size_t cipher_sent;
    uint64_t deadline;      /* on the loop's clock, ms; 0: none */
    uint64_t writing_since; /* on the loop's clock: when `writer` was started, or its client was last fast enough */
    size_t writing_size;    /* what the client had not taken then */
    size_t counted;         /* our share in all->queued */
    size_t lingered;        /* bytes thrown away */
    enum conn_state state;
    short refused;                            /* before it was open: the status for protocol->unborn */
    bool spoke;                               /* the client has sent something */
    bool linger, paused, end_tells, notified; /* notified: close_notify is in `cipher` */
    bool greeted;                             /* the first bytes for TLS have come */
    bool in_cork;                             /* what is in `queue` is sent by conns_uncork */
    bool last, ends;                          /* see conn_last, conn_ends */
    struct peer peer;                         /* owns its `proxied` */
};

static inline void conn_set_state(struct conn *c, enum conn_state state)
{
    assert(state > c->state);
    c->state = state;
}

void conn_finish(struct conn *c);      /* the end of a connection, whatever led to it */
void conn_mark_broken(struct conn *c); /* the socket failed while somebody up the stack uses it: the sweep ends it */

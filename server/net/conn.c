/* conn.c - one client socket: read, write, deadlines, close. */
#include "server/net/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/net/proxy.h"
#include "server/net/send.h"
#include "server/net/tls.h"

#define READ_SIZE (64 * 1024)
#define SPARE_MAX (256 * 1024)            /* a larger buffer for ciphertext is not kept */
#define LOW_MARK (64 * 1024)              /* `drained` is called below it */
#define SWEEP_MS 500                      /* how often deadlines are looked at */
#define DRAIN_HANDSHAKE_MS 1000           /* for one that is under way when the worker is told to leave */
#define LINGER_BYTES (4 * 1024 * 1024)    /* what may still arrive meanwhile */
#define QUEUE_MAX (256 * 1024)            /* output that may wait for one client before the application has to */
#define ALL_QUEUES_MAX (64 * 1024 * 1024) /* the same for all clients of a worker */
#define WRITE_BUFS 16

enum conn_state { CONN_PREFACE, CONN_HANDSHAKE, CONN_OPEN, CONN_CLOSING, CONN_LINGER, CONN_BROKEN, CONN_CLOSED };

/* One uv_write under way: only while the socket is full. */
struct writer {
    uv_write_t req;
    uv_buf_t bufs[WRITE_BUFS];
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
    struct tls *tls;       /* owned; NULL: plain */
    void *p;               /* the protocol's state; NULL before open and after closed */
    struct writer *writer; /* owned; NULL: nothing under way */
    struct buf preface;    /* owned: what has come while it cannot be told whether it is a PROXY header */
    struct chunkq queue;   /* owned: what is not sent yet */
    struct buf cipher;     /* owned: encrypted, not sent, from `cipher_sent` on */
    size_t cipher_sent;
    uint64_t deadline;      /* on the loop's clock, ms; 0: none */
    uint64_t writing_since; /* on the loop's clock: when `writer` was started */
    size_t writing_size;    /* what it had to send then */
    size_t counted;         /* our share in all->queued */
    size_t lingered;        /* bytes thrown away */
    enum conn_state state;
    bool linger, paused, notified; /* notified: close_notify is in `cipher` */
    struct peer peer;              /* owns its `proxied` */
};

static void flush(struct conn *c);

static void set_state(struct conn *c, enum conn_state state)
{
    assert(state > c->state);
    c->state = state;
}

/* Bytes not yet taken by the socket. */
static size_t queued(const struct conn *c)
{
    return c->queue.bytes + (c->cipher.len - c->cipher_sent);
}

/* Keeps the worker's sum true: after each change of what waits to be sent. */
static void account(struct conn *c)
{
    size_t now = queued(c);
    c->all->queued += now - c->counted; /* modulo arithmetic: it may well sink */
    c->counted = now;
}

static void drop_cipher(struct conn *c)
{
    if (!c->all->spare.data && c->cipher.cap <= SPARE_MAX) {
        c->all->spare = c->cipher;
        c->all->spare.len = 0;
        c->cipher = (struct buf){0};
    } else {
        buf_finish(&c->cipher);
    }
    c->cipher_sent = 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    tls_destroy(c->tls);
    free(c->writer);
    free(c->peer.proxied);
    free(c);
}

/* The list is kept by last use: the front is the freshest. */
static void link_first(struct conn *c)
{
    struct conns *cs = c->all;
    c->prev = NULL;
    c->next = cs->first;
    *(c->next ? &c->next->prev : &cs->last) = c;
    cs->first = c;
}

static void unlink_conn(struct conn *c)
{
    struct conns *cs = c->all;
    *(c->prev ? &c->prev->next : &cs->first) = c->next;
    *(c->next ? &c->next->prev : &cs->last) = c->prev;
}

/* The end of a connection, whatever led to it. */
static void finish(struct conn *c)
{
    struct conns *cs = c->all;
    set_state(c, CONN_CLOSED);
    chunkq_finish(&c->queue);
    buf_finish(&c->preface);
    drop_cipher(c);
    account(c);
    unlink_conn(c);
    cs->count--;
    void *p = c->p;
    c->p = NULL;
    if (p) {
        cs->protocol->closed(p);
    }
    uv_close(&c->u.handle, on_closed);
    if (cs->on_room) {
        cs->on_room(cs->on_room_arg);
    }
}

/* The socket failed while somebody up the stack is using the connection: the sweep ends it. */
static void mark_broken(struct conn *c)
{
    if (c->state < CONN_BROKEN) {
        set_state(c, CONN_BROKEN);
        if (!c->writer) {
            chunkq_drop(&c->queue); /* else libuv still reads from it */
        }
        c->deadline = 1;
    }
}

/* Writing */

/* From chunks or queue to the socket, as far as it goes: see send.h. */
static int send_now(struct conn *c, struct chunk *v, size_t *i, size_t n)
{
    struct conns *cs = c->all;
    if (!c->tls) {
        return send_plain(&c->u.stream, v, i, n);
    }
    if (!c->cipher.data) {
        c->cipher = cs->spare;
        cs->spare = (struct buf){0};
    }
    int r = send_encrypted(&c->u.stream, c->tls, &c->cipher, &c->cipher_sent, cs->gather_buffer, v, i, n);
    if (r == 0) {
        drop_cipher(c);
    }
    return r;
}

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->handle->data;
    struct writer *w = c->writer;

    if (c->state >= CONN_BROKEN || status < 0) {
        mark_broken(c);
        return; /* the writer is freed with the conn */
    }
    c->writer = NULL;
    if (c->tls) {
        c->cipher_sent = c->cipher.len; /* all of it was in the write */
        drop_cipher(c);
    } else if (w->file_bytes > 0) {
        chunk_advance(&c->queue.v[c->queue.head], w->file_bytes);
        c->queue.bytes -= w->file_bytes;
    } else {
        for (size_t done = 0; done < w->n_bufs;) {
            struct chunk chunk = chunkq_pop(&c->queue);
            done += chunk.len > 0;
            chunk_release(&chunk);
        }
    }
    free(w);
    flush(c);
}

/* The socket is full: libuv waits for it with the head of the queue. */
static int start_writer(struct conn *c)
{
    struct chunkq *q = &c->queue;
    const struct chunk *first = chunkq_is_empty(q) ? NULL : &q->v[q->head];
    bool file = !c->tls && first && first->fd >= 0;
    struct writer *w = malloc(sizeof(*w) + (file ? READ_SIZE : 0));
    if (!w) {
        return -ENOMEM;
    }
    w->file_bytes = 0;
    w->n_bufs = 0;
    if (c->tls) {
        w->bufs[w->n_bufs++] =
            (uv_buf_t){.base = c->cipher.data + c->cipher_sent, .len = c->cipher.len - c->cipher_sent};
    } else if (file) {
        ssize_t n = chunk_peek(first, w->piece, READ_SIZE);
        if (n < 0) {
            free(w);
            return (int)n;
        }
        w->file_bytes = (size_t)n;
        w->bufs[w->n_bufs++] = (uv_buf_t){.base = w->piece, .len = (size_t)n};
    } else {
        assert(q->v); /* the socket is full because of something */
        for (size_t k = q->head; k < q->n && w->n_bufs < WRITE_BUFS && q->v[k].fd < 0; k++) {
            if (q->v[k].len > 0) {
                w->bufs[w->n_bufs++] = (uv_buf_t){.base = (char *)q->v[k].data, .len = q->v[k].len};
            }
        }
    }
    int r = uv_write(&w->req, &c->u.stream, w->bufs, (unsigned)w->n_bufs, on_written);
    if (r < 0) {
        free(w);
        return r;
    }
    c->writer = w;
    c->writing_since = uv_now(c->all->loop);
    c->writing_size = uv_stream_get_write_queue_size(&c->u.stream);
    return 0;
}

/* All that was queued is sent, and no more will come: says goodbye. */
static void close_when_sent(struct conn *c)
{
    uv_os_fd_t fd;
    int unread = 0;
    if (uv_fileno(&c->u.handle, &fd) < 0) {
        finish(c);
        return;
    }
    /* What has arrived and was not read would become a reset, too. */
    if (!c->linger && (ioctl(fd, FIONREAD, &unread) < 0 || unread == 0)) {
        finish(c);
        return;
    }
    if (shutdown(fd, SHUT_WR) < 0) {
        finish(c);
        return;
    }
    set_state(c, CONN_LINGER);
    c->deadline = uv_now(c->all->loop) + c->all->limits.linger_ms;
    c->paused = true; /* so that resuming is done */
    conn_resume(c);
}

/* Sends what is queued as far as it goes. May close the connection. */
static void flush(struct conn *c)
{
    if (c->writer || c->state >= CONN_LINGER) {
        return;
    }
    struct chunkq *q = &c->queue;
    int r = 0;
    if (!chunkq_is_empty(q)) {
        r = send_now(c, q->v, &q->head, q->n);
        q->bytes = 0;
        for (size_t k = q->head; k < q->n; k++) {
            q->bytes += q->v[k].len;
        }
    }
    if (r == 0 && c->state == CONN_CLOSING && c->tls && !c->notified) {
        c->notified = true;
        tls_close(c->tls, &c->cipher);
        r = send_cipher(&c->u.stream, &c->cipher, &c->cipher_sent);
    }
    if (r == UV_EAGAIN) {
        r = start_writer(c);
    }
    if (r < 0) {
        mark_broken(c);
        return;
    }
    if (chunkq_is_empty(q)) {
        chunkq_finish(q); /* an idle connection holds no memory for output */
    }
    account(c);
    if (c->state == CONN_CLOSING && !c->writer) {
        close_when_sent(c);
        return;
    }
    if (c->state == CONN_OPEN && queued(c) <= LOW_MARK) {
        c->all->protocol->drained(c->p);
    }
}

void conn_send(struct conn *c, struct chunk *chunks, size_t n)
{
    size_t i = 0;
    int r = 0;

    if (c->state != CONN_OPEN) {
        r = -EPIPE;
    } else if (!c->writer && chunkq_is_empty(&c->queue)) {
        r = send_now(c, chunks, &i, n);
    }
    while (i < n && (r == 0 || r == UV_EAGAIN)) {
        int pushed = chunkq_push(&c->queue, &chunks[i]);
        r = pushed < 0 ? pushed : r;
        i += pushed == 0;
    }
    for (; i < n; i++) {
        chunk_release(&chunks[i]);
    }
    if (r == UV_EAGAIN) {
        r = start_writer(c);
    }
    if (r < 0 && c->state == CONN_OPEN) {
        mark_broken(c);
    }
    account(c);
}

bool conn_wants_more(const struct conn *c)
{
    size_t mine = queued(c);
    return mine == 0 || (mine < QUEUE_MAX && c->all->queued < ALL_QUEUES_MAX);
}

/* Reading */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *c = handle->data;
    *buf = uv_buf_init(c->all->read_buffer, READ_SIZE);
}

static bool open_protocol(struct conn *c)
{
    set_state(c, CONN_OPEN);
    c->deadline = 0;
    c->p = c->all->protocol->open(c->all->context, c);
    if (!c->p) {
        finish(c);
        return false;
    }
    return true;
}

static void deliver_eof(struct conn *c)
{
    if (c->state == CONN_OPEN) {
        c->all->protocol->eof(c->p);
    } else if (c->state < CONN_OPEN || c->state == CONN_LINGER) {
        finish(c);
    }
}

/* Sends what OpenSSL wants to say by itself: handshake messages and alerts. */
static void push_alerts(struct conn *c, struct buf *out)
{
    int r = 0;
    if (out->len > 0 && c->writer) {
        r = -ENOBUFS; /* a client that rekeys but does not read: libuv holds `cipher`, which may not move */
    } else if (out->len > 0) {
        r = buf_append(&c->cipher, out->data, out->len);
        r = r == 0 ? send_cipher(&c->u.stream, &c->cipher, &c->cipher_sent) : r;
        r = r == UV_EAGAIN ? start_writer(c) : r;
    }
    buf_finish(out);
    if (r < 0) {
        mark_broken(c);
    }
}

static void read_tls(struct conn *c, const char *data, size_t len)
{
    struct conns *cs = c->all;
    tls_input(c->tls, data, len);
    while (c->state == CONN_HANDSHAKE || c->state == CONN_OPEN) {
        struct buf out = {0};
        ssize_t n = tls_read(c->tls, cs->plain_buffer, READ_SIZE, &out);
        push_alerts(c, &out);
        if (c->state > CONN_OPEN) {
            return;
        }
        if (c->state == CONN_HANDSHAKE && tls_is_ready(c->tls) && (n >= 0 || n == -EAGAIN) && !open_protocol(c)) {
            return;
        }
        if (n > 0) {
            cs->protocol->data(c->p, cs->plain_buffer, (size_t)n);
        } else if (n == -EAGAIN) {
            return;
        } else if (n == 0) {
            deliver_eof(c);
            return;
        } else {
            log_debug("TLS with %s failed: %s", c->peer.addr, n == -EPROTO ? tls_error(c->tls) : strerror((int)-n));
            finish(c);
            return;
        }
    }
}

/* What comes next is for TLS or the protocol. False when the connection is closed. */
static bool begin(struct conn *c)
{
    if (c->tls) {
        set_state(c, CONN_HANDSHAKE);
        c->deadline = uv_now(c->all->loop) + c->all->limits.handshake_ms;
        return true;
    }
    return open_protocol(c);
}

static void deliver(struct conn *c, const char *data, size_t len)
{
    if (c->tls) {
        read_tls(c, data, len);
    } else {
        c->all->protocol->data(c->p, data, len);
    }
}

static void refuse_preface(struct conn *c, int status, const char *reason)
{
    if (c->tls) {
        log_debug("Refused %s: %s", c->peer.addr, reason); /* it waits for a handshake: no answer could be read */
        finish(c);
    } else if (open_protocol(c)) {
        c->all->protocol->refuse(c->p, status, reason);
    }
}

static bool keep_proxied(struct conn *c, const struct proxied *proxied)
{
    c->peer.proxied = malloc(sizeof(*proxied)); /* apart: most connections have none, and idle ones are to be small */
    if (c->peer.proxied) {
        *c->peer.proxied = *proxied;
    }
    return c->peer.proxied;
}

/* The beginning of a connection where the PROXY protocol is spoken. */
static void read_preface(struct conn *c, const char *data, size_t len)
{
    const char *reason = NULL;
    struct proxied proxied;
    size_t used = 0;
    bool whole = c->preface.len == 0;
    if (!whole && buf_append(&c->preface, data, len) < 0) {
        finish(c);
        return;
    }
    struct buf all = whole ? (struct buf){.data = (char *)data, .len = len} : c->preface;
    int status = proxy_read(c->all->proxy, &c->peer, &proxied, all.data, all.len, &used, &reason);
    if (status == PROXY_MORE) {
        if (whole && buf_append(&c->preface, data, len) < 0) {
            finish(c);
        }
        return;
    }
    c->preface = (struct buf){0};
    if (status != 0) {
        refuse_preface(c, status, reason);
    } else if (used > 0 && !keep_proxied(c, &proxied)) {
        finish(c);
    } else if (begin(c) && used < all.len) {
        deliver(c, all.data + used, all.len - used);
    }
    if (!whole) {
        buf_finish(&all);
    }
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct conn *c = stream->data;
    if (nread == 0) {
        return; /* EAGAIN */
    }
    if (nread == UV_EOF) {
        deliver_eof(c);
        return;
    }
    if (nread < 0) {
        finish(c);
        return;
    }
    if (c->state == CONN_LINGER) {
        c->lingered += (size_t)nread;
        if (c->lingered > LINGER_BYTES) {
            finish(c);
        }
    } else if (c->state == CONN_PREFACE) {
        read_preface(c, buf->base, (size_t)nread);
    } else if (c->state <= CONN_OPEN) {
        deliver(c, buf->base, (size_t)nread);
    }
}

void conn_pause(struct conn *c)
{
    if (!c->paused) {
        c->paused = true;
        uv_read_stop(&c->u.stream);
    }
}

void conn_resume(struct conn *c)
{
    if (c->paused && c->state != CONN_CLOSED) {
        c->paused = false;
        /* EALREADY: still armed. Any other failure shows when the connection is swept. */
        uv_read_start(&c->u.stream, on_alloc, on_read);
    }
}

/* Opening and closing */

int conn_open(struct conns *cs, int fd, bool is_unix, const struct peer *peer, struct tls_context *tls)
{
    int r = -ENOMEM;
    struct conn *c = calloc(1, sizeof(*c));
    if (!c) {
        close(fd);
        return r;
    }
    c->all = cs;
    c->peer = *peer;
    if (tls && !(c->tls = tls_create(tls))) {
        close(fd);
        free(c);
        return r;
    }
    /* Neither init can fail without flags; from here on the handle has to be closed by libuv. */
    if (is_unix) {
        uv_pipe_init(cs->loop, &c->u.pipe, 0);
        r = uv_pipe_open(&c->u.pipe, fd);
    } else {
        uv_tcp_init(cs->loop, &c->u.tcp);
        r = uv_tcp_open(&c->u.tcp, fd);
    }
    c->u.handle.data = c;
    if (r < 0) {
        close(fd);
        uv_close(&c->u.handle, on_closed);
        return r;
    }
    link_first(c);
    cs->count++;
    conns_watch(cs);

    if (cs->proxy) {
        c->deadline = uv_now(cs->loop) + cs->limits.handshake_ms;
    } else if (!begin(c)) {
        return -ENOMEM;
    }
    r = uv_read_start(&c->u.stream, on_alloc, on_read);
    if (r < 0 && c->state != CONN_CLOSED) {
        finish(c);
    }
    return r;
}

void conn_close(struct conn *c, bool linger)
{
    if (c->state != CONN_OPEN) {
        return;
    }
    set_state(c, CONN_CLOSING);
    c->linger = linger;
    c->deadline = 0;
    flush(c);
}

void conn_abort(struct conn *c)
{
    if (c->state != CONN_CLOSED) {
        finish(c);
    }
}

const struct peer *conn_peer(const struct conn *c)
{
    return &c->peer;
}

bool conn_draining(const struct conn *c)
{
    return c->all->draining;
}

bool conn_broken(const struct conn *c)
{
    return c->state == CONN_BROKEN;
}

void conn_set_deadline(struct conn *c, uint64_t ms)
{
    if (c->state == CONN_OPEN) {
        c->deadline = ms ? uv_now(c->all->loop) + ms : 0;
        if (c->prev) {
            unlink_conn(c);
            link_first(c);
        }
    }
}

/* All connections of a worker */

/* True for a client that takes what we send more slowly than the minimum rate. */
static bool is_too_slow(const struct conn *c, uint64_t now)
{
    size_t rate = c->all->limits.send_rate;
    if (!c->writer || rate == 0) {
        return false;
    }
    size_t taken = c->writing_size - uv_stream_get_write_queue_size(&c->u.stream);
    return now - c->writing_since > CONN_GRACE_MS + (uint64_t)taken * 1000 / rate;
}

static void on_sweep(uv_timer_t *timer)
{
    struct conns *cs = timer->data;
    uint64_t now = uv_now(cs->loop);
    for (struct conn *c = cs->first, *next; c; c = next) {
        next = c->next; /* a callback closes its own connection at the most */
        if (is_too_slow(c, now)) {
            finish(c);
        } else if (c->deadline && now >= c->deadline) {
            c->deadline = 0;
            if (c->state == CONN_OPEN) {
                cs->protocol->expired(c->p);
            } else {
                finish(c);
            }
        }
    }
    if (cs->count == 0) {
        uv_timer_stop(timer);
    }
    if (cs->on_room) {
        cs->on_room(cs->on_room_arg); /* accepting may have stopped for want of descriptors */
    }
}

void conns_watch(struct conns *cs)
{
    if (!uv_is_active((uv_handle_t *)&cs->sweep)) {
        uv_timer_start(&cs->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    }
}

int conns_init(struct conns *cs, uv_loop_t *loop, const struct protocol *protocol, void *context,
               const struct conn_limits *limits)
{
    *cs = (struct conns){.loop = loop, .protocol = protocol, .context = context, .limits = *limits};
    cs->read_buffer = malloc(READ_SIZE);
    cs->plain_buffer = malloc(READ_SIZE);
    cs->gather_buffer = malloc(SEND_RECORD_SIZE);
    if (!cs->read_buffer || !cs->plain_buffer || !cs->gather_buffer) {
        conns_finish(cs);
        return -ENOMEM;
    }
    uv_timer_init(loop, &cs->sweep);
    cs->sweep.data = cs;
    return 0;
}

void conns_close_all(struct conns *cs)
{
    while (cs->first) {
        finish(cs->first);
    }
}

void conns_drain(struct conns *cs)
{
    cs->draining = true;
    for (struct conn *c = cs->first, *next; c; c = next) {
        next = c->next;
        if (c->state == CONN_OPEN) {
            cs->protocol->drain(c->p);
        } else if (c->state < CONN_OPEN) {
            c->deadline = uv_now(cs->loop) + DRAIN_HANDSHAKE_MS;
        }
    }
}

bool conns_shed(struct conns *cs)
{
    for (struct conn *c = cs->last; c; c = c->prev) {
        if (c->state == CONN_LINGER || (c->state == CONN_OPEN && cs->protocol->is_idle(c->p))) {
            conn_close(c, false);
            if (c->state == CONN_LINGER) {
                finish(c);
            }
            return c->state == CONN_CLOSED;
        }
    }
    return false;
}

void conns_finish(struct conns *cs)
{
    free(cs->read_buffer);
    free(cs->plain_buffer);
    free(cs->gather_buffer);
    buf_finish(&cs->spare);
    cs->read_buffer = cs->plain_buffer = cs->gather_buffer = NULL;
}

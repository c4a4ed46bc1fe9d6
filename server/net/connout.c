/* connout.c - what a connection has to send, as far as the socket takes it. */
#include "server/net/connout.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "server/net/conn_inside.h"
#include "server/net/send.h"
#include "server/net/tls.h"

#define SPARE_MAX (512 * 1024)   /* a larger buffer for ciphertext is not kept */
#define CIPHER_MANY (480 * 1024) /* ciphertext of one write: more is cheaper, and this fits SPARE_MAX */
#define CIPHER_FEW (128 * 1024)  /* ... while much waits for clients already */
#define ALL_CIPHER_MANY (16 * 1024 * 1024)
#define CORKED_MAX (16 * 1024) /* what is larger does not wait for others: waking the client is a small part */
#define LOW_MARK (64 * 1024)   /* `drained` is called below it */
#define QUEUE_MAX (256 * 1024) /* output that may wait for one client before the application has to */
#define ALL_QUEUES_MAX (64 * 1024 * 1024) /* the same for all clients of a worker */

size_t conn_queued(const struct conn *c)
{
    return c->queue.bytes + (c->cipher.len - c->cipher_sent);
}

size_t conn_untaken(const struct conn *c)
{
    uv_os_fd_t fd;
    int in_kernel = 0;
    if (uv_fileno(&c->u.handle, &fd) < 0 || ioctl(fd, SIOCOUTQ, &in_kernel) < 0) {
        in_kernel = 0;
    }
    return uv_stream_get_write_queue_size(&c->u.stream) + (size_t)in_kernel;
}

void conn_account(struct conn *c)
{
    size_t now = conn_queued(c);
    c->all->queued += now - c->counted; /* modulo arithmetic: it may well sink */
    c->counted = now;
}

void conn_drop_cipher(struct conn *c)
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

/* By us: by the kernel (kTLS) is as in the clear. */
static bool is_encrypted(const struct conn *c)
{
    return c->tls && !tls_in_kernel(c->tls);
}

static void put_in_cork(struct conn *c)
{
    struct conns *cs = c->all;
    c->in_cork = true;
    c->next_corked = NULL;
    c->prev_corked = cs->last_corked;
    *(c->prev_corked ? &c->prev_corked->next_corked : &cs->first_corked) = c;
    cs->last_corked = c;
}

void conn_take_from_cork(struct conn *c)
{
    struct conns *cs = c->all;
    if (c->in_cork) {
        c->in_cork = false;
        *(c->prev_corked ? &c->prev_corked->next_corked : &cs->first_corked) = c->next_corked;
        *(c->next_corked ? &c->next_corked->prev_corked : &cs->last_corked) = c->prev_corked;
    }
}

static bool may_wait(const struct conn *c)
{
    return c->all->corked == CORK_ALL || (c->last && !c->tls && c->all->corked == CORK_LAST);
}

static bool is_small(const struct chunk *chunks, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bytes += chunks[i].len;
    }
    return bytes <= CORKED_MAX;
}

/* From chunks or queue to the socket, as far as it goes: see send.h. */
static int send_now(struct conn *c, struct chunk *v, size_t *i, size_t n)
{
    struct conns *cs = c->all;
    if (!is_encrypted(c)) {
        return send_plain(&c->u.stream, v, i, n, c->ends);
    }
    if (!c->cipher.data) {
        c->cipher = cs->spare;
        cs->spare = (struct buf){0};
    }
    size_t most = cs->queued < ALL_CIPHER_MANY ? CIPHER_MANY : CIPHER_FEW;
    bool goodbye = c->last && !c->notified;
    int r =
        send_encrypted(&c->u.stream, c->tls, &c->cipher, &c->cipher_sent, most, cs->gather_buffer, v, i, n, goodbye);
    c->notified |= goodbye && *i == n;
    if (r == 0) {
        conn_drop_cipher(c);
    }
    return r;
}

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->handle->data;
    struct writer *w = c->writer;

    if (c->state >= CONN_BROKEN || status < 0) {
        conn_mark_broken(c);
        return; /* the writer is freed with the conn */
    }
    c->writer = NULL;
    if (is_encrypted(c)) {
        c->cipher_sent = c->cipher.len; /* all of it was in the write */
        conn_drop_cipher(c);
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
    conn_flush(c);
}

int conn_start_writer(struct conn *c)
{
    struct chunkq *q = &c->queue;
    const struct chunk *first = chunkq_is_empty(q) ? NULL : &q->v[q->head];
    bool file = !is_encrypted(c) && first && first->fd >= 0;
    struct writer *w = malloc(sizeof(*w) + (file ? CONN_PIECE : 0));
    if (!w) {
        return -ENOMEM;
    }
    w->file_bytes = 0;
    w->n_bufs = 0;
    if (is_encrypted(c)) {
        w->bufs[w->n_bufs++] =
            (uv_buf_t){.base = c->cipher.data + c->cipher_sent, .len = c->cipher.len - c->cipher_sent};
    } else if (file) {
        ssize_t n = chunk_peek(first, w->piece, CONN_PIECE);
        if (n < 0) {
            free(w);
            return (int)n;
        }
        w->file_bytes = (size_t)n;
        w->bufs[w->n_bufs++] = (uv_buf_t){.base = w->piece, .len = (size_t)n};
    } else {
        assert(q->v); /* the socket is full because of something */
        for (size_t k = q->head; k < q->n && w->n_bufs < CONN_WRITE_BUFS && q->v[k].fd < 0; k++) {
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
    c->writing_size = conn_untaken(c);
    return 0;
}

/* Close_notify, once. 0; -EAGAIN: a writer is needed for it, or, where the kernel encrypts, patience; or -errno. */
static int say_goodbye(struct conn *c)
{
    if (c->notified || !c->tls) {
        return 0;
    }
    int r = tls_close(c->tls, &c->cipher);
    c->notified = r == 0;
    return r == 0 ? send_cipher(&c->u.stream, &c->cipher, &c->cipher_sent) : r;
}

/* All that was queued is sent, and no more will come: says goodbye. */
static void close_when_sent(struct conn *c)
{
    uv_os_fd_t fd;
    int unread = 0;
    if (uv_fileno(&c->u.handle, &fd) < 0) {
        conn_finish(c);
        return;
    }
    /* What has arrived and was not read would become a reset, too. */
    if (!c->linger && (ioctl(fd, FIONREAD, &unread) < 0 || unread == 0)) {
        conn_finish(c);
        return;
    }
    if (shutdown(fd, SHUT_WR) < 0) {
        conn_finish(c);
        return;
    }
    conn_set_state(c, CONN_LINGER);
    c->deadline = uv_now(c->all->loop) + c->all->limits.linger_ms;
    c->paused = true; /* so that resuming is done */
    conn_resume(c);
}

/* From the queue to the socket: see send_now. */
static int send_queue(struct conn *c)
{
    struct chunkq *q = &c->queue;
    int r = chunkq_is_empty(q) ? 0 : send_now(c, q->v, &q->head, q->n);
    q->bytes = 0;
    for (size_t k = q->head; k < q->n; k++) {
        q->bytes += q->v[k].len;
    }
    return r;
}

void conn_send_corked(struct conn *c)
{
    if (c->in_cork && c->state == CONN_OPEN) {
        conn_take_from_cork(c);
        send_queue(c); /* who calls this ends the connection in any case */
    }
}

void conn_flush(struct conn *c)
{
    if (c->writer || c->state >= CONN_LINGER) {
        return;
    }
    struct chunkq *q = &c->queue;
    int r = send_queue(c);
    if (r == 0 && c->state == CONN_CLOSING) {
        r = say_goodbye(c);
        if (r == UV_EAGAIN && tls_in_kernel(c->tls)) {
            c->deadline = c->deadline ? c->deadline : uv_now(c->all->loop) + c->all->limits.linger_ms;
            return; /* the sweep tries again */
        }
    }
    if (r == UV_EAGAIN) {
        r = conn_start_writer(c);
    }
    if (r < 0) {
        conn_mark_broken(c);
        return;
    }
    if (chunkq_is_empty(q)) {
        chunkq_finish(q); /* an idle connection holds no memory for output */
    }
    conn_account(c);
    if (c->state == CONN_CLOSING && !c->writer) {
        close_when_sent(c);
        return;
    }
    if (c->state == CONN_OPEN && conn_queued(c) <= LOW_MARK) {
        c->all->protocol->drained(c->p);
    }
}

void conn_send(struct conn *c, struct chunk *chunks, size_t n)
{
    size_t i = 0;
    int r = 0;

    if (c->state != CONN_OPEN) {
        r = -EPIPE;
    } else if (!c->writer && chunkq_is_empty(&c->queue) && may_wait(c) && is_small(chunks, n)) {
        put_in_cork(c);
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
        r = conn_start_writer(c);
    }
    if (r < 0 && c->state == CONN_OPEN) {
        conn_mark_broken(c);
    }
    conn_account(c);
}

bool conn_wants_more(const struct conn *c)
{
    size_t mine = conn_queued(c);
    if (c->state == CONN_BROKEN) {
        return false; /* it would be thrown away, as fast as it can be made */
    }
    return mine == 0 || (mine < QUEUE_MAX && c->all->queued < ALL_QUEUES_MAX);
}

/* conn.c - one client socket: read, deadlines, close. */
#include "server/net/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/net/conn_inside.h"
#include "server/net/connout.h"
#include "server/net/proxy.h"
#include "server/net/send.h"
#include "server/net/tls.h"

#define TLS_HANDSHAKE 0x16             /* what a TLS record of the first kind begins with: RFC 8446 5.1 */
#define LINGER_BYTES (4 * 1024 * 1024) /* what may still arrive meanwhile */

static void on_closed(uv_handle_t *handle)
{
    struct conn *c = handle->data;
    tls_destroy(c->tls);
    free(c->writer);
    free(c->peer.proxied);
    free(c->peer.client);
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

/* What is cut must not look whole, and the kernel need not keep what a client did not take. */
static void reset_when_cut(struct conn *c)
{
    static const struct linger AT_ONCE = {.l_onoff = 1};
    uv_os_fd_t fd;
    bool cut = conn_queued(c) > 0 || (c->end_tells && (c->state == CONN_OPEN || c->state == CONN_BROKEN));
    if (cut && uv_fileno(&c->u.handle, &fd) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &AT_ONCE, sizeof(AT_ONCE)); /* if it fails, they get a plain end */
    }
}

bool conn_has_input(const struct conn *c)
{
    uv_os_fd_t fd;
    int unread = 0;
    return uv_fileno(&c->u.handle, &fd) == 0 && ioctl(fd, FIONREAD, &unread) == 0 && unread > 0;
}

void conn_finish(struct conn *c)
{
    struct conns *cs = c->all;
    cs->handshakes_failed += c->state == CONN_HANDSHAKE;
    reset_when_cut(c);
    if (!c->p && c->spoke && cs->protocol->unborn) {
        cs->protocol->unborn(cs->context, &c->peer, c->refused);
    }
    conn_set_state(c, CONN_CLOSED);
    conn_take_from_cork(c);
    chunkq_finish(&c->queue);
    buf_finish(&c->preface);
    conn_drop_cipher(c);
    conn_account(c);
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

void conn_mark_broken(struct conn *c)
{
    if (c->state < CONN_BROKEN) {
        conn_set_state(c, CONN_BROKEN);
        if (!c->writer) {
            chunkq_drop(&c->queue); /* else libuv still reads from it */
        }
        c->deadline = 1;
        conns_sweep_soon(c->all);
    }
}

/* Reading */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct conn *c = handle->data;
    *buf = uv_buf_init(c->all->read_buffer, CONN_PIECE);
}

static bool open_protocol(struct conn *c)
{
    c->all->handshakes += c->state == CONN_HANDSHAKE;
    conn_set_state(c, CONN_OPEN);
    c->deadline = 0;
    c->p = c->all->protocol->open(c->all->context, c);
    if (!c->p) {
        conn_finish(c);
        return false;
    }
    return true;
}

static void deliver_eof(struct conn *c)
{
    if (c->state == CONN_OPEN) {
        c->all->protocol->eof(c->p);
    } else if (c->state < CONN_OPEN || c->state == CONN_LINGER) {
        if (c->state == CONN_HANDSHAKE && c->greeted) {
            trouble_note(&c->all->trouble, TROUBLE_HANDSHAKE, c->peer.addr, "the client has left");
        }
        conn_finish(c);
    }
}

static void push_cipher(struct conn *c)
{
    int r = c->writer ? 0 : send_cipher(&c->u.stream, &c->cipher, &c->cipher_sent);
    r = r == UV_EAGAIN ? conn_start_writer(c) : r;
    if (r < 0) {
        conn_mark_broken(c);
    }
}

/* Takes what OpenSSL wants to say by itself: handshake messages and alerts. Some of it has time. */
static void push_alerts(struct conn *c, struct buf *out, bool now)
{
    /* A client that rekeys but does not read: libuv holds `cipher`, which may not move. */
    int r = c->writer ? -ENOBUFS : buf_append(&c->cipher, out->data, out->len);
    buf_finish(out);
    if (r < 0) {
        conn_mark_broken(c);
    } else if (now) {
        push_cipher(c);
    }
}

/* A request in the clear begins with a letter or an empty line, a TLS record never does (RFC 8446 5.1). */
static bool is_in_the_clear(struct conn *c, char first)
{
    bool is_first = !c->greeted;
    c->greeted = true;
    return is_first && ((first >= 'A' && first <= 'Z') || first == '\r' || first == '\n');
}

/* HTTP goes on without TLS, only to be led to where it should have come. */
static void read_misled(struct conn *c, const char *data, size_t len)
{
    trouble_note(&c->all->trouble, TROUBLE_CLEAR, c->peer.addr, "it is led to https");
    tls_destroy(c->tls);
    c->tls = NULL;
    c->peer.tls = false;
    c->peer.to_https = true;
    if (open_protocol(c)) {
        c->all->protocol->data(c->p, data, len);
    }
}

static bool open_encrypted(struct conn *c)
{
    c->peer.tls_version = tls_version(c->tls);
    c->peer.tls_cipher = tls_cipher(c->tls);
    c->peer.client = tls_client(c->tls);
    return open_protocol(c);
}

static void read_records(struct conn *c)
{
    struct conns *cs = c->all;
    while (c->state == CONN_HANDSHAKE || c->state == CONN_OPEN) {
        struct buf out = {0};
        ssize_t n = tls_read(c->tls, cs->plain_buffer, CONN_PIECE, &out);
        if (out.len > 0) {
            push_alerts(c, &out, n <= 0 || !tls_has_time(c->tls));
        }
        if (c->state > CONN_OPEN) {
            return;
        }
        if (c->state == CONN_HANDSHAKE && tls_is_ready(c->tls) && (n >= 0 || n == -EAGAIN) && !open_encrypted(c)) {
            return;
        }
        if (n > 0) {
            bool more = tls_has_more(c->tls);
            cs->protocol->data(c->p, cs->plain_buffer, (size_t)n);
            if (!more) {
                return;
            }
        } else if (n == -EAGAIN) {
            return;
        } else if (n == 0) {
            deliver_eof(c);
            return;
        } else {
            const char *why = n == -EPROTO ? tls_error(c->tls) : strerror((int)-n);
            log_debug("TLS with %s failed: %s", c->peer.addr, why);
            if (c->state == CONN_HANDSHAKE) {
                trouble_note(&cs->trouble, TROUBLE_HANDSHAKE, c->peer.addr, why);
            }
            c->refused = 400;
            conn_finish(c);
            return;
        }
    }
}

static void read_tls(struct conn *c, const char *data, size_t len)
{
    if (is_in_the_clear(c, data[0])) {
        read_misled(c, data, len);
        return;
    }
    tls_input(c->tls, data, len);
    read_records(c);
    /* Session tickets, which a new client is due, go with the answer to what it has sent along with the handshake's
     * end. */
    if (c->state == CONN_OPEN && c->cipher.len > 0) {
        if (!c->all->protocol->will_answer(c->p)) {
            push_cipher(c);
        }
        conn_account(c);
    }
}

/* What comes next is for TLS or the protocol. False when the connection is closed. */
static bool begin(struct conn *c)
{
    if (c->tls) {
        conn_set_state(c, CONN_HANDSHAKE);
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
        if (!c->greeted && data[0] == TLS_HANDSHAKE) {
            trouble_note(&c->all->trouble, TROUBLE_TLS, c->peer.addr,
                         "is https:// missing before an address of --bind?");
        }
        c->greeted = true;
        c->all->protocol->data(c->p, data, len);
    }
}

static void refuse_preface(struct conn *c, int status, const char *reason)
{
    if (c->tls) {
        log_debug("Refused %s: %s", c->peer.addr, reason); /* it waits for a handshake: no answer could be read */
        c->refused = (short)status;
        conn_finish(c);
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
        conn_finish(c);
        return;
    }
    struct buf all = whole ? (struct buf){.data = (char *)data, .len = len} : c->preface;
    int status = proxy_read(c->all->proxy, &c->peer, &proxied, all.data, all.len, &used, &reason);
    if (status == PROXY_MORE) {
        if (whole && buf_append(&c->preface, data, len) < 0) {
            conn_finish(c);
        }
        return;
    }
    c->preface = (struct buf){0};
    if (status != 0) {
        refuse_preface(c, status, reason);
    } else if (used > 0 && !keep_proxied(c, &proxied)) {
        conn_finish(c);
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
        conn_finish(c);
        return;
    }
    c->spoke = true;
    if (c->state == CONN_LINGER) {
        c->lingered += (size_t)nread;
        if (c->lingered > LINGER_BYTES) {
            conn_finish(c);
        }
    } else if (c->state == CONN_PREFACE) {
        read_preface(c, buf->base, (size_t)nread);
    } else if (c->state <= CONN_OPEN) {
        deliver(c, buf->base, (size_t)nread);
    } else if (c->state == CONN_CLOSING) {
        c->linger = true; /* more may follow */
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

/* A client's first bytes are often there when its connection is accepted. Taking them before the loop waits for them
 * spares a turn of it, and for a connection of one request the system calls that watching takes. */
static void read_at_once(struct conn *c, int fd)
{
    ssize_t n = recv(fd, c->all->read_buffer, CONN_PIECE, MSG_DONTWAIT);
    if (n > 0) { /* an end or an error is seen again by the loop */
        uv_buf_t buf = uv_buf_init(c->all->read_buffer, CONN_PIECE);
        on_read(&c->u.stream, n, &buf);
    }
}

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
    c->peer.number = cs->accepted + 1;
    if (tls && !(c->tls = tls_create(tls, is_unix ? -1 : fd))) {
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
    cs->accepted++;
    conns_watch(cs);

    if (cs->proxy) {
        c->deadline = uv_now(cs->loop) + cs->limits.handshake_ms;
    } else if (!begin(c)) {
        return -ENOMEM;
    }
    r = uv_read_start(&c->u.stream, on_alloc, on_read);
    if (r == 0) {
        read_at_once(c, fd);
    } else if (c->state != CONN_CLOSED) {
        conn_finish(c);
    }
    return r;
}

void conn_close(struct conn *c, bool linger)
{
    if (c->state != CONN_OPEN) {
        return;
    }
    conn_set_state(c, CONN_CLOSING);
    c->linger = linger;
    c->deadline = 0;
    conn_flush(c);
}

void conn_end_tells(struct conn *c)
{
    c->end_tells = true;
}

void conn_last(struct conn *c)
{
    c->last = true;
}

void conn_ends(struct conn *c)
{
    c->ends = !c->tls; /* TLS has its own last words to say */
}

void conn_abort(struct conn *c)
{
    if (c->state != CONN_CLOSED) {
        conn_send_corked(c); /* it would have left before, had it not waited for others */
        conn_finish(c);
    }
}

const struct peer *conn_peer(const struct conn *c)
{
    return &c->peer;
}

uv_loop_t *conn_loop(const struct conn *c)
{
    return c->all->loop;
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

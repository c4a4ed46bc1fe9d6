/* http1over.c - the application takes an HTTP/1.1 connection over. */
#include "server/http/http1over.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/http/exchange.h"
#include "server/http/http.h"
#include "server/http/http1_inside.h"
#include "server/http/tunnel.h"
#include "server/net/conn.h"

#define STATUS_AT 9 /* in "HTTP/1.1 101 Switching Protocols" */

struct takeover {
    struct tunnel *tunnel; /* owned; NULL: cut */
    bool begun;            /* the application has written something */
    bool lost;             /* ... and memory for it was short */
    int status;            /* that it has answered with */
    uint64_t bytes;        /* that it has written */
};

static int status_of(const char *data, size_t len)
{
    int status = 0;
    for (size_t i = STATUS_AT; i < STATUS_AT + 3; i++) {
        if (i >= len || data[i] < '0' || data[i] > '9') {
            return 101; /* it is free to say what it likes: the log has a number all the same */
        }
        status = status * 10 + (data[i] - '0');
    }
    return status;
}

static void begin(struct http1 *h, const char *data, size_t len)
{
    struct executor *e = h->http->executor;
    h->takeover->begun = true;
    h->takeover->status = status_of(data, len);
    h->keep_alive = false;
    if (e->unlimit) {
        e->unlimit(e, h->x);
    }
}

/* What the client has sent before the application took over: it need not, but it may. */
static void hand_on_ahead(struct http1 *h)
{
    struct buf ahead = h->ahead;
    h->ahead = (struct buf){0};
    if (ahead.len > 0) {
        conn_resume(h->conn);
        h->takeover->lost |= tunnel_send(h->takeover->tunnel, ahead.data, ahead.len) < 0;
    }
    buf_finish(&ahead);
    if (h->half_closed) {
        tunnel_send_end(h->takeover->tunnel);
    }
}

static int on_said(void *arg, const char *data, size_t len)
{
    struct http1 *h = arg;
    struct takeover *t = h->takeover;
    if (h->x->response.head_sent) {
        return -1; /* it has answered already, by WSGI */
    }
    if (!t->begun) {
        begin(h, data, len);
        hand_on_ahead(h);
    }
    char *copy = malloc(len);
    if (!copy || t->lost) {
        free(copy);
        t->lost = true;
        return -1;
    }
    memcpy(copy, data, len);
    t->bytes += len;
    conn_send(h->conn, &(struct chunk){.data = copy, .len = len, .fd = -1, .release = free, .owner = copy}, 1);
    if (!conn_wants_more(h->conn)) {
        tunnel_pause(t->tunnel);
    }
    return 0;
}

static void on_taken(void *arg)
{
    struct http1 *h = arg;
    conn_resume(h->conn);
}

static void on_ended(void *arg)
{
    struct http1 *h = arg;
    if (h->takeover->lost) {
        conn_abort(h->conn);
    } else if (h->takeover->begun) {
        conn_close(h->conn, true);
    } else {
        takeover_cut(h); /* it answers by WSGI */
    }
}

void takeover_offer(struct http1 *h)
{
    static const struct tunnel_events EVENTS = {.said = on_said, .taken = on_taken, .ended = on_ended};
    struct takeover *t = calloc(1, sizeof(*t));
    int r = t ? tunnel_open(&t->tunnel, conn_loop(h->conn), &EVENTS, h, &h->x->socket) : -ENOMEM;
    if (r < 0) {
        log_error("The application cannot be given a socket for WebSocket: %s", strerror(-r));
        free(t);
        return;
    }
    h->takeover = t;
}

bool takeover_has_begun(struct http1 *h)
{
    struct takeover *t = h->takeover;
    if (t && t->tunnel && !t->begun) {
        tunnel_catch_up(t->tunnel);
    }
    return t && t->begun;
}

bool takeover_data(struct http1 *h, const char *data, size_t len)
{
    if (!h->takeover || !h->takeover->begun) {
        return false;
    }
    h->x->bytes_in += len;
    int r = tunnel_send(h->takeover->tunnel, data, len);
    if (r == 0) {
        conn_pause(h->conn);
    } else if (r < 0) {
        conn_abort(h->conn);
    }
    return true;
}

void takeover_eof(struct http1 *h)
{
    if (h->takeover && h->takeover->begun) {
        tunnel_send_end(h->takeover->tunnel);
    }
}

void takeover_drained(struct http1 *h)
{
    if (h->takeover && h->takeover->tunnel) {
        tunnel_resume(h->takeover->tunnel);
    }
}

void takeover_note(const struct http1 *h, struct exchange *y)
{
    y->response.status = h->takeover->status;
    y->response.body_bytes = h->takeover->bytes;
    y->response.no_body = false;
}

void takeover_cut(struct http1 *h)
{
    if (h->takeover) {
        tunnel_close(h->takeover->tunnel);
        h->takeover->tunnel = NULL;
    }
}

bool takeover_end(struct http1 *h)
{
    struct takeover *t = h->takeover;
    if (!t) {
        return false;
    }
    if (t->tunnel) {
        tunnel_catch_up(t->tunnel);
    }
    bool begun = t->begun;
    if (begun) {
        chunkq_drop(&h->x->response.queue);
        takeover_note(h, h->x);
        h->x->failed = false; /* who ended it, and how, is between the application and its client */
        atomic_store(&h->x->aborted, false);
    }
    takeover_cut(h);
    free(t);
    h->takeover = NULL;
    return begun;
}

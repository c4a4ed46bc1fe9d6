/* http1.c - requests and answers of one HTTP/1.1 connection, one after the other. */
#include "server/http/http1.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/http/exchange.h"
#include "server/http/forward.h"
#include "server/http/framing.h"
#include "server/http/http.h"
#include "server/http/receive.h"
#include "server/http/tohttps.h"
#include "server/net/conn.h"
#include "server/net/peer.h"

#define LEAVING_MS 1000       /* for the first request of a connection that was accepted just before */
#define CROSSING_MS 1000      /* after an answer the next request may be on its way, and the answer itself, too */
#define AHEAD_MAX (64 * 1024) /* bytes of later requests that we hold for a client */
#define CHUNKS 64             /* pieces handed to the connection at once */
#define HELD_MAX (64 * 1024)  /* bytes of small pieces that are gathered */

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
    uint64_t given;                        /* bytes of the answer's body that the connection was given */
    uint64_t idle_since_ms;                /* in PHASE_IDLE, unless it is fresh */
    uint64_t body_began_ms, body_received; /* of this request; bytes as they came, framing included */
    uint64_t requests;                     /* so far */
    struct buf ahead;                      /* owned: bytes of later requests */
    struct chunkq held;                    /* owned: of the answer, not framed yet */
    bool holding;                          /* small pieces are gathered */
    bool head_held;                        /* the first of `held` is the head */
    struct receiver *receiver;             /* arena of x: only while the request is coming; NULL after it */
};

static const struct exchange_ops OPS;
static void flush(struct exchange *x);

/* Life */

static void *on_open(void *context, struct conn *c)
{
    struct http1 *h = calloc(1, sizeof(*h));
    if (h) {
        h->http = context;
        h->conn = c;
        h->trusted = forward_trusts(h->http->forward, conn_peer(c));
        h->fresh = true;
        conn_set_deadline(c, h->http->header_ms);
    }
    return h;
}

static void destroy(struct http1 *h)
{
    buf_finish(&h->ahead);
    chunkq_finish(&h->held);
    free(h);
}

static bool is_idle(const void *p)
{
    const struct http1 *h = p;
    return h->phase == PHASE_IDLE && !h->fresh;
}

static bool is_lent(const struct http1 *h)
{
    return h->x && (h->x->state == EXCHANGE_READY || h->x->state == EXCHANGE_RUNNING);
}

static void end_exchange(struct http1 *h)
{
    struct exchange *x = h->x;
    h->x = NULL;
    if (!h->given_up) {
        http_log(h->http, x, x->response.no_body ? 0 : x->response.body_bytes);
    }
    http_give_back(h->http, x);
}

/* The client left before its head was complete. */
static void log_beginning(struct http1 *h)
{
    if (h->requests > 1 && h->x->bytes_in <= 2) {
        http_give_back(h->http, h->x); /* old clients send CR LF behind a body (RFC 9112 2.2): that is no request */
        return;
    }
    end_exchange(h);
}

static void on_closed(void *p)
{
    struct http1 *h = p;
    h->conn = NULL;
    bool lent = is_lent(h);
    bool received = h->phase == PHASE_BODY || h->phase == PHASE_ANSWER;
    h->phase = PHASE_GONE;
    if (lent) {
        exchange_keep_peer(h->x);
        exchange_abort(h->x, h->http->executor); /* `done` goes on from here */
        return;
    }
    if (h->receiver) {
        receive_give_up(h->receiver);
    }
    if (h->x && !received) {
        log_beginning(h);
    } else if (h->x) {
        end_exchange(h);
    }
    destroy(h);
}

/* Requests */

/* The answer is ours; the connection ends with it, since what follows cannot be trusted or is not wanted. */
static void take_over(struct http1 *h)
{
    struct exchange *x = h->x;
    receive_give_up(h->receiver);
    h->receiver = NULL;
    h->phase = PHASE_ANSWER;
    h->keep_alive = false;
    h->unread = true;
    h->released = true;
    x->state = EXCHANGE_DONE;
    x->response.to_head = str_eq(x->request.method, STR("HEAD"));
    if (x->request.minor > 1 || x->request.major != 1) {
        x->request.major = x->request.minor = 1; /* the version that we answer in */
    }
    conn_set_deadline(h->conn, 0);
}

static void refuse(struct http1 *h, int status, const char *reason)
{
    struct exchange *x = h->x;
    enum log_level level = status == 408 ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING; /* who is only slow is no news */
    log_line(level, "Invalid request from ip=%s: %s", x->peer->addr, reason);
    take_over(h);
    if (response_refuse(&x->response, status, reason) < 0) {
        conn_abort(h->conn);
        return;
    }
    flush(x);
}

/* What is not for the application, though it is a good request. */
static void answer_ourselves(struct http1 *h)
{
    take_over(h);
    int r = tohttps_wanted(h->x) ? tohttps_lead(h->x) : ownpages_answer(&h->http->own, h->x);
    if (r < 0) {
        conn_abort(h->conn);
        return;
    }
    flush(h->x);
}

/* We end the connection though the client would go on: its next request may be on its way, and a plain close would
 * answer that with a reset, which takes this answer with it. */
static void end_after_answer(struct http1 *h)
{
    h->unread |= h->keep_alive;
    h->keep_alive = false;
}

static void submit(struct http1 *h)
{
    struct exchange *x = h->x;
    h->receiver = NULL;
    h->phase = PHASE_ANSWER;
    h->keep_alive = x->request.keep_alive;
    conn_set_deadline(h->conn, 0);
    x->response.to_head = str_eq(x->request.method, STR("HEAD"));
    exchange_submit(x, h->http->executor);
}

/* Keeps bytes for later. */
static void put_aside(struct http1 *h, const char *data, size_t len)
{
    if (buf_append(&h->ahead, data, len) < 0) {
        h->keep_alive = false;
        h->unread = true; /* what was lost cannot be answered: this is the last request */
        return;
    }
    if (h->ahead.len > AHEAD_MAX) {
        conn_pause(h->conn);
    }
}

static uint64_t now_ms(void)
{
    return clock_mono_us() / 1000;
}

/* The longer a body is, the longer it may take: it has to come at a minimum rate. */
static void expect_body(struct http1 *h, size_t received)
{
    uint64_t now = now_ms();
    size_t rate = h->http->body_rate;
    if (h->body_received == 0) {
        h->body_began_ms = now;
    }
    h->body_received += received;
    if (rate == 0) {
        conn_set_deadline(h->conn, 0);
        return;
    }
    uint64_t due = h->body_began_ms + CONN_GRACE_MS + h->body_received * 1000 / rate;
    conn_set_deadline(h->conn, due > now ? due - now : 1);
}

static bool begin_exchange(struct http1 *h)
{
    struct exchange *x = http_take(h->http);
    h->receiver = x ? receive_begin(h->http, h->trusted, x) : NULL;
    if (!h->receiver) {
        if (x) {
            http_give_back(h->http, x);
        }
        conn_abort(h->conn);
        return false;
    }
    h->x = x;
    h->x->ops = &OPS;
    h->x->protocol = h;
    h->x->peer = conn_peer(h->conn);
    h->x->request.https = h->x->peer->tls;
    h->x->nth = ++h->requests;
    h->phase = PHASE_HEAD;
    h->fresh = false;
    h->body_received = 0;
    h->unread = h->answered = h->sent = h->released = false;
    h->given = 0;
    conn_set_deadline(h->conn, h->http->header_ms);
    return true;
}

/* The client has said all it will say. One that waits for answers still gets them. */
static void end_of_input(struct http1 *h)
{
    switch (h->phase) {
    case PHASE_IDLE:
    case PHASE_HEAD:
        conn_close(h->conn, false);
        break;
    case PHASE_BODY:
        refuse(h, 400, "The request body was cut short");
        break;
    case PHASE_ANSWER:
    case PHASE_GONE:
        break;
    }
}

static void on_head(struct http1 *h, bool more_has_come)
{
    static const char CONTINUE[] = "HTTP/1.1 100 Continue\r\n\r\n";
    h->phase = PHASE_BODY;
    expect_body(h, 0);
    if (h->x->request.expect_continue && !more_has_come) {
        conn_send(h->conn, &(struct chunk){.data = CONTINUE, .len = sizeof(CONTINUE) - 1, .fd = -1}, 1);
    }
}

/* Takes bytes of a request. False when the connection may be gone, and `h` with it. */
static bool feed_request(struct http1 *h, const char *data, size_t len, size_t *used)
{
    enum received what = receive(h->receiver, data, len, used);
    bool good = what == RECEIVED_HEAD || (what == RECEIVED_WHOLE && h->phase == PHASE_HEAD);
    if (good && (tohttps_wanted(h->x) || ownpages_wanted(&h->http->own, h->x))) {
        answer_ourselves(h);
        return false;
    }
    switch (what) {
    case RECEIVED_SOME:
        if (h->phase == PHASE_BODY) {
            expect_body(h, *used);
        }
        return true;
    case RECEIVED_HEAD:
        on_head(h, *used < len);
        return true;
    case RECEIVED_WHOLE:
        submit(h);
        return true;
    case RECEIVED_REFUSED:
        refuse(h, h->receiver->status, h->receiver->reason);
        return false;
    case RECEIVED_FAILED:
        break;
    }
    conn_abort(h->conn);
    return false;
}

static void feed(struct http1 *h, const char *data, size_t len)
{
    while (len > 0 && h->phase != PHASE_ANSWER) {
        size_t used = 0;
        if (h->phase == PHASE_IDLE && !begin_exchange(h)) {
            return;
        }
        if (!feed_request(h, data, len, &used)) {
            return;
        }
        data += used;
        len -= used;
    }
    if (len > 0) {
        put_aside(h, data, len);
    }
    if (h->half_closed) {
        end_of_input(h);
    }
}

static void on_data(void *p, const char *data, size_t len)
{
    feed(p, data, len);
}

static void on_refuse(void *p, int status, const char *reason)
{
    struct http1 *h = p;
    if (begin_exchange(h)) {
        refuse(h, status, reason);
    }
}

static void on_eof(void *p)
{
    struct http1 *h = p;
    h->half_closed = true;
    end_of_input(h);
}

static void on_expired(void *p)
{
    struct http1 *h = p;
    if (h->phase == PHASE_HEAD || h->phase == PHASE_BODY) {
        refuse(h, 408, "The request took too long to arrive");
    } else if (h->phase == PHASE_IDLE) {
        conn_close(h->conn, true);
    }
}

static void on_drain(void *p)
{
    struct http1 *h = p;
    if (h->phase == PHASE_IDLE && h->fresh) {
        conn_set_deadline(h->conn, LEAVING_MS);
    } else if (h->phase == PHASE_IDLE) {
        conn_close(h->conn, now_ms() < h->idle_since_ms + CROSSING_MS);
    }
}

/* Answers */

/* Called when the last byte has left, or will never leave. */
static void on_sent(void *owner)
{
    struct exchange *x = owner;
    struct http1 *h = x->protocol;
    h->sent = true;
}

/* The exchange is over when both the client and the executor are done with it. May close the connection. */
static void go_on(struct http1 *h)
{
    if (h->phase != PHASE_ANSWER || !h->sent || !h->released) {
        return;
    }
    end_exchange(h);
    if (conn_draining(h->conn)) {
        end_after_answer(h);
    }
    if (!h->keep_alive || conn_broken(h->conn)) {
        conn_close(h->conn, h->unread || h->ahead.len > 0);
        return;
    }
    h->phase = PHASE_IDLE;
    h->idle_since_ms = now_ms();
    if (h->ahead.len == 0 && h->half_closed) {
        conn_close(h->conn, false);
        return;
    }
    if (h->ahead.len == 0) {
        conn_set_deadline(h->conn, h->http->keepalive_ms);
        return;
    }
    struct buf ahead = h->ahead;
    h->ahead = (struct buf){0};
    conn_resume(h->conn);
    feed(h, ahead.data, ahead.len);
    buf_finish(&ahead);
}

/* Settles how the answer is framed and whether the connection goes on, and makes the head of it. */
static bool make_head(struct http1 *h, struct chunk *out)
{
    h->framing = framing_of(h->x);
    if (conn_draining(h->conn) || h->http->keepalive_ms == 0 || h->framing == FRAMING_CLOSE) {
        end_after_answer(h);
    }
    if (h->framing == FRAMING_CLOSE) {
        conn_end_tells(h->conn);
    }
    clock_update(&h->http->clock);
    if (tohttps_pin(h->x, h->http->hsts) < 0) {
        return false;
    }
    h->x->response.head_sent = true;
    exchange_note(h->x, &h->x->answered_us);
    return framing_head(h->x, h->framing, h->keep_alive, &h->http->clock, out);
}

/* Hands a part of the body to the connection; `last`: all that is left of it, and then what ends the answer. 0, or
 * -ENOMEM: then what was popped is released. */
static int send_body(struct http1 *h, struct chunkq *body, bool last)
{
    while (!chunkq_is_empty(body) || (last && !h->answered)) {
        struct chunk out[CHUNKS];
        int n = 0;
        if (h->head_held) {
            h->head_held = false;
            out[n++] = chunkq_pop(body);
        } else if (!h->x->response.head_sent && !make_head(h, &out[n++])) {
            return -ENOMEM;
        }
        size_t before = body->bytes;
        int framed = framing_body(body, h->framing, out + n, CHUNKS - n - 2);
        if (framed < 0) {
            return framed;
        }
        h->given += before - body->bytes;
        n += framed;
        if (last && chunkq_is_empty(body)) {
            h->answered = true;
            if (h->framing == FRAMING_CHUNKED) {
                out[n++] = framing_last();
            }
            out[n++] = (struct chunk){.fd = -1, .release = on_sent, .owner = h->x};
        }
        conn_send(h->conn, out, (size_t)n);
    }
    return 0;
}

/* Takes over what the response holds; with the first of it the head is settled, as if it had been sent. 0 or -ENOMEM.
 */
static int gather(struct http1 *h)
{
    struct response *r = &h->x->response;
    int result = 0;
    while (!chunkq_is_empty(&r->queue) && result == 0) {
        struct chunk c;
        if (r->head_sent) {
            c = chunkq_pop(&r->queue);
        } else if (make_head(h, &c)) {
            h->head_held = true;
        } else {
            return -ENOMEM;
        }
        result = chunkq_push(&h->held, &c);
        if (result < 0) {
            chunk_release(&c);
        }
    }
    return result;
}

/* Sends what was gathered and what the response holds. 0 or -ENOMEM. */
static int send_all(struct http1 *h)
{
    struct response *r = &h->x->response;
    h->holding = false;
    if (chunkq_is_empty(&h->held)) {
        return send_body(h, &r->queue, r->finished);
    }
    int result = gather(h);
    result = result < 0 ? result : send_body(h, &h->held, r->finished);
    chunkq_finish(&h->held);
    return result;
}

/* Sends what the response holds. May close the connection. */
static void flush(struct exchange *x)
{
    struct http1 *h = x->protocol;
    if (h->phase == PHASE_GONE) {
        chunkq_drop(&x->response.queue);
    } else if ((h->holding && !x->response.finished ? gather(h) : send_all(h)) < 0) {
        conn_abort(h->conn); /* no memory for the framing: the answer cannot go on */
    } else {
        go_on(h);
    }
}

static void hold(struct exchange *x)
{
    struct http1 *h = x->protocol;
    h->holding = true;
}

/* Looks at nothing of the response: the application may be at it. */
static void let_go(struct exchange *x)
{
    struct http1 *h = x->protocol;
    h->holding = false;
    int r = h->phase != PHASE_GONE && !chunkq_is_empty(&h->held) ? send_body(h, &h->held, false) : 0;
    chunkq_finish(&h->held);
    if (r < 0) {
        conn_abort(h->conn);
    }
}

static bool wants_more(const struct exchange *x)
{
    const struct http1 *h = x->protocol;
    return h->phase != PHASE_GONE && h->held.bytes < HELD_MAX && conn_wants_more(h->conn);
}

/* The executor gives the exchange back. */
static void done(struct exchange *x, bool ok)
{
    struct http1 *h = x->protocol;
    h->released = true;
    if (h->phase == PHASE_GONE) {
        end_exchange(h);
        destroy(h);
        return;
    }
    if (!ok && x->response.head_sent) {
        conn_abort(h->conn); /* the client must not take what it has for the whole */
        return;
    }
    if (!ok) {
        end_after_answer(h);
        if (response_refuse(&x->response, 500, "The application failed to answer this request") < 0) {
            conn_abort(h->conn);
            return;
        }
    }
    flush(x);
}

static void on_drained(void *p)
{
    struct http1 *h = p;
    if (is_lent(h)) {
        h->http->executor->resume(h->http->executor, h->x);
    } else {
        go_on(h);
    }
}

/* Giving up. The exchange stays with the application, which may be using its response and arena at this moment: another
 * one answers in its place. */

/* Says what the client has got, or, if that is nothing yet, `status`. What the request says is borrowed from x. NULL:
 * no memory. */
static struct exchange *stand_in(struct http1 *h, const struct exchange *x, int status, const char *message)
{
    struct exchange *y = http_take(h->http);
    if (!y) {
        return NULL;
    }
    y->ops = &OPS;
    y->protocol = h;
    y->state = EXCHANGE_DONE;
    y->request = x->request;
    y->peer = x->peer;
    y->started_us = x->started_us;
    y->ready_us = x->ready_us;
    y->answered_us = x->answered_us;
    y->bytes_in = x->bytes_in;
    y->nth = x->nth;
    y->response.to_head = x->response.to_head;
    if (x->response.head_sent) { /* what it says does not change any more */
        y->response.status = x->response.status;
        y->response.fields = x->response.fields;
        y->response.n_fields = x->response.n_fields;
    } else if (response_refuse(&y->response, status, message) < 0) {
        http_give_back(h->http, y);
        return NULL;
    }
    http_log(h->http, y, x->response.head_sent || y->response.no_body ? h->given : y->response.body_bytes);
    return y;
}

/* `y` goes on with the connection; x has nobody to answer to. */
static void swap(struct http1 *h, struct http1 *holder, struct exchange *y)
{
    struct exchange *x = h->x;
    *holder = (struct http1){.http = h->http, .x = x, .phase = PHASE_GONE, .given_up = true};
    x->protocol = holder;
    y->request = (struct request){.major = x->request.major, .minor = x->request.minor}; /* x may go before it */
    y->peer = conn_peer(h->conn);
    h->x = y;
    h->released = true;
    end_after_answer(h);
    exchange_abort(x, h->http->executor);
    flush(y);
}

static void give_up(struct exchange *x, int status, const char *message)
{
    struct http1 *h = x->protocol;
    if (h->given_up) {
        return;
    }
    struct exchange *y = stand_in(h, x, status, message);
    bool unanswered = h->phase != PHASE_GONE && !x->response.head_sent;
    struct http1 *holder = unanswered && y ? malloc(sizeof(*holder)) : NULL;
    h->given_up = true;
    if (holder) {
        swap(h, holder, y);
        return;
    }
    if (y) {
        http_give_back(h->http, y);
    }
    if (h->answered) {
        conn_close(h->conn, true); /* it has all of it: only close() does not come back */
    } else if (h->phase != PHASE_GONE) {
        conn_abort(h->conn);
    }
}

static void on_give_up(void *p, bool begun)
{
    struct http1 *h = p;
    if (is_lent(h) && (begun || !h->x->response.head_sent)) {
        give_up(h->x, 503, "The application cannot take this request now");
    }
}

static const struct exchange_ops OPS = {
    .flush = flush,
    .hold = hold,
    .let_go = let_go,
    .wants_more = wants_more,
    .done = done,
    .give_up = give_up,
};

/* What was to become a connection for us, but did not: no TLS, or no PROXY header where there has to be one. */
static void on_unborn(void *context, const struct peer *peer, int status)
{
    struct exchange *x = http_take(context);
    if (x) {
        x->peer = peer;
        x->nth = 1;
        x->request.major = x->request.minor = 1;
        x->response.status = status;
        http_log(context, x, 0);
        http_give_back(context, x);
    }
}

const struct protocol http1_protocol = {
    .open = on_open,
    .unborn = on_unborn,
    .data = on_data,
    .refuse = on_refuse,
    .eof = on_eof,
    .drained = on_drained,
    .expired = on_expired,
    .is_idle = is_idle,
    .drain = on_drain,
    .give_up = on_give_up,
    .closed = on_closed,
};

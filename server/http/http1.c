/* http1.c - one HTTP/1.1 connection: its life, and its requests, one after the other. */
#include "server/http/http1.h"

#include <assert.h>
#include <stdlib.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/http/exchange.h"
#include "server/http/forward.h"
#include "server/http/http.h"
#include "server/http/http1_inside.h"
#include "server/http/http1out.h"
#include "server/http/http1over.h"
#include "server/http/receive.h"
#include "server/http/tohttps.h"
#include "server/net/conn.h"
#include "server/net/peer.h"

#define LEAVING_MS 1000       /* for the first request of a connection that was accepted just before */
#define CROSSING_MS 1000      /* after an answer the next request may be on its way, and the answer itself, too */
#define AHEAD_MAX (64 * 1024) /* bytes of later requests that we hold for a client */

/* Life */

static void *on_open(void *context, struct conn *c)
{
    struct http1 *h = calloc(1, sizeof(*h));
    if (h) {
        h->http = context;
        h->conn = c;
        h->trusted = forward_trusts(h->http->forward, conn_peer(c));
        h->fresh = true;
        h->answered_round = h->http->executor->round;
        conn_set_deadline(c, conn_draining(c) ? LEAVING_MS : h->http->header_ms);
    }
    return h;
}

void http1_destroy(struct http1 *h)
{
    assert(!h->takeover);
    buf_finish(&h->ahead);
    chunkq_finish(&h->held);
    free(h);
}

static bool is_idle(const void *p)
{
    const struct http1 *h = p;
    return h->phase == PHASE_IDLE && !h->fresh;
}

static bool will_answer(const void *p)
{
    const struct http1 *h = p;
    return http1_is_lent(h) && !h->takeover;
}

bool http1_is_lent(const struct http1 *h)
{
    return h->x && (h->x->state == EXCHANGE_READY || h->x->state == EXCHANGE_RUNNING);
}

void http1_end_exchange(struct http1 *h)
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
    http1_end_exchange(h);
}

static void on_closed(void *p)
{
    struct http1 *h = p;
    h->conn = NULL;
    takeover_cut(h);
    bool lent = http1_is_lent(h);
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
        http1_end_exchange(h);
    }
    http1_destroy(h);
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

static void log_refusal(const struct exchange *x, int status, const char *reason)
{
    if (status == 500 || status == 503) { /* 501 and 505 are about the request */
        log_error("Cannot take a request from ip=%s: %s", x->peer->addr, reason);
        return;
    }
    enum log_level level = status == 408 ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING; /* who is only slow is no news */
    log_line(level, "Invalid request from ip=%s: %s", x->peer->addr, reason);
}

static void refuse(struct http1 *h, int status, const char *reason)
{
    struct exchange *x = h->x;
    log_refusal(x, status, reason);
    take_over(h);
    if (response_refuse(&x->response, status, reason) < 0) {
        conn_abort(h->conn);
        return;
    }
    http1_flush(x);
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
    http1_flush(h->x);
}

void http1_end_after_answer(struct http1 *h)
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
    if (x->request.websocket) {
        takeover_offer(h);
    }
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

uint64_t http1_now_ms(void)
{
    return clock_mono_us() / 1000;
}

/* The longer a body is, the longer it may take: it has to come at a minimum rate. */
static void expect_body(struct http1 *h, size_t received)
{
    uint64_t now = http1_now_ms();
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
    h->x->ops = &http1_ops;
    h->x->protocol = h;
    h->x->peer = conn_peer(h->conn);
    h->x->request.https = h->x->peer->tls;
    h->x->nth = ++h->requests;
    h->x->answered_round = h->answered_round;
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

/* Takes bytes until a request is complete. False when the connection may be gone, and `h` with it. */
static bool feed(struct http1 *h, const char *data, size_t len, size_t *used)
{
    *used = 0;
    while (*used < len && h->phase != PHASE_ANSWER) {
        size_t n = 0;
        if (h->phase == PHASE_IDLE && !begin_exchange(h)) {
            return false;
        }
        if (!feed_request(h, data + *used, len - *used, &n)) {
            return false;
        }
        *used += n;
    }
    return true;
}

static void on_data(void *p, const char *data, size_t len)
{
    struct http1 *h = p;
    size_t used;
    if (takeover_data(h, data, len)) {
        return;
    }
    if (!feed(h, data, len, &used)) {
        return;
    }
    if (used < len) {
        put_aside(h, data + used, len - used);
    }
    if (h->half_closed) {
        end_of_input(h);
    }
}

void http1_feed_ahead(struct http1 *h)
{
    struct buf ahead = h->ahead;
    size_t used;
    h->ahead = (struct buf){0};
    if (!feed(h, ahead.data, ahead.len, &used)) {
        buf_finish(&ahead);
        return;
    }
    buf_consume(&ahead, used);
    if (ahead.len == 0) {
        buf_finish(&ahead);
    }
    h->ahead = ahead;
    if (ahead.len <= AHEAD_MAX) {
        conn_resume(h->conn);
    }
    if (h->half_closed) {
        end_of_input(h);
    }
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
    takeover_eof(h);
    end_of_input(h);
}

static void on_expired(void *p)
{
    struct http1 *h = p;
    if (h->phase == PHASE_HEAD || h->phase == PHASE_BODY) {
        refuse(h, 408, "The request took too long to arrive");
    } else if (h->phase == PHASE_IDLE && conn_has_input(h->conn)) {
        conn_set_deadline(h->conn, 1); /* its next request came in time: it is read in this turn */
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
        conn_close(h->conn, http1_now_ms() < h->idle_since_ms + CROSSING_MS);
    }
}

static void on_drained(void *p)
{
    struct http1 *h = p;
    takeover_drained(h);
    if (http1_is_lent(h)) {
        h->http->executor->resume(h->http->executor, h->x);
    } else {
        http1_go_on(h);
    }
}

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
    .will_answer = will_answer,
    .drain = on_drain,
    .give_up = http1_on_give_up,
    .closed = on_closed,
};

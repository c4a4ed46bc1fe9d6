/* http1out.c - answers of one HTTP/1.1 connection: gathered, framed, sent, given up. */
#include "server/http/http1out.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/http/exchange.h"
#include "server/http/http.h"
#include "server/http/http1_inside.h"
#include "server/http/http1over.h"
#include "server/http/tohttps.h"
#include "server/net/conn.h"

#define CHUNKS 64            /* pieces handed to the connection at once */
#define HELD_MAX (64 * 1024) /* bytes that are gathered before they are sent */

/* Called when the last byte has left, or will never leave. */
static void on_sent(void *owner)
{
    struct exchange *x = owner;
    struct http1 *h = x->protocol;
    h->sent = true;
}

void http1_go_on(struct http1 *h)
{
    if (h->phase != PHASE_ANSWER || !h->sent || !h->released) {
        return;
    }
    http1_end_exchange(h);
    if (conn_draining(h->conn) && h->ahead.len == 0) { /* else the answer to what is here says that it is the last */
        http1_end_after_answer(h);
    }
    if (!h->keep_alive || conn_broken(h->conn)) {
        conn_close(h->conn, h->unread || h->ahead.len > 0);
        return;
    }
    h->phase = PHASE_IDLE;
    h->idle_since_ms = http1_now_ms();
    h->answered_round = h->http->executor->round;
    if (h->ahead.len == 0 && h->half_closed) {
        conn_close(h->conn, false);
        return;
    }
    if (h->ahead.len == 0) {
        conn_set_deadline(h->conn, h->http->keepalive_ms);
        return;
    }
    http1_feed_ahead(h);
}

/* Settles how the answer is framed and whether the connection goes on, and makes the head of it. */
static bool make_head(struct http1 *h, struct chunk *out)
{
    h->framing = framing_of(h->x);
    if (conn_draining(h->conn) || h->http->keepalive_ms == 0 || h->framing == FRAMING_CLOSE) {
        http1_end_after_answer(h);
    }
    if (h->framing == FRAMING_CLOSE) {
        conn_end_tells(h->conn);
    }
    clock_update(&h->http->clock);
    char pin[TOHTTPS_PIN_MAX];
    struct str more = {pin, tohttps_pin(h->x, h->http->hsts, pin)};
    h->x->response.head_sent = true;
    exchange_note(h->x, &h->x->answered_us);
    return framing_head(h->x, h->framing, h->keep_alive, h->http, more, out);
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
            if (!h->keep_alive) {
                conn_last(h->conn);
            }
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
    if (chunkq_is_empty(&h->held)) {
        return send_body(h, &r->queue, r->finished);
    }
    int result = gather(h);
    result = result < 0 ? result : send_body(h, &h->held, r->finished);
    chunkq_finish(&h->held);
    return result;
}

/* A copy, which does not go with the exchange when that is given up. */
static void send_hints(struct http1 *h, struct response *r)
{
    struct str hints = r->hints;
    char *copy = !r->head_sent && h->x->request.minor > 0 ? malloc(hints.len) : NULL; /* RFC 9110 15.2 */
    r->hints = (struct str){0};
    if (copy) { /* else the answer does without: they are hints */
        memcpy(copy, hints.p, hints.len);
        conn_send(h->conn, &(struct chunk){.data = copy, .len = hints.len, .fd = -1, .release = free, .owner = copy},
                  1);
    }
}

void http1_flush(struct exchange *x)
{
    struct http1 *h = x->protocol;
    if (h->phase == PHASE_GONE || takeover_has_begun(h)) {
        chunkq_drop(&x->response.queue);
        return;
    }
    if (x->response.hints.len > 0) {
        send_hints(h, &x->response);
    }
    bool wait = h->holding && !x->response.finished;
    int r = wait ? gather(h) : 0;
    if (r == 0 && (!wait || h->held.bytes >= HELD_MAX)) {
        r = send_all(h);
    }
    if (r < 0) {
        conn_abort(h->conn); /* no memory for the framing: the answer cannot go on */
    } else {
        http1_go_on(h);
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
    return h->phase != PHASE_GONE && conn_wants_more(h->conn);
}

/* The executor gives the exchange back. */
static void done(struct exchange *x, bool ok)
{
    struct http1 *h = x->protocol;
    bool taken_over = takeover_end(h);
    h->released = true;
    if (h->phase == PHASE_GONE) {
        http1_end_exchange(h);
        http1_destroy(h);
        return;
    }
    if (taken_over) {
        http1_end_exchange(h);
        conn_close(h->conn, true);
        return;
    }
    if (!ok && x->response.head_sent && h->framing == FRAMING_CLOSE) {
        conn_abort(h->conn); /* the client must not take what it has for the whole */
        return;
    }
    if (!ok && x->response.head_sent) {
        conn_close(h->conn, true); /* it sees that something is missing, and gets all that was made */
        return;
    }
    if (!ok) {
        http1_end_after_answer(h);
        if (response_refuse(&x->response, 500, "The application failed to answer this request") < 0) {
            conn_abort(h->conn);
            return;
        }
    }
    if (!h->keep_alive) {
        conn_ends(h->conn); /* http1_go_on closes it once all is sent */
    }
    http1_flush(x);
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
    y->ops = &http1_ops;
    y->protocol = h;
    y->state = EXCHANGE_DONE;
    y->request = x->request;
    y->peer = x->peer;
    y->started_us = x->started_us;
    y->ready_us = x->ready_us;
    y->answered_us = x->answered_us;
    y->bytes_in = x->bytes_in;
    y->nth = x->nth;
    y->executor = x->executor;
    y->failed = !x->aborted; /* else its client had left before */
    y->response.to_head = x->response.to_head;
    if (takeover_has_begun(h)) {
        takeover_note(h, y);
    } else if (x->response.head_sent) { /* what it says does not change any more */
        y->response.status = x->response.status;
        y->response.fields = x->response.fields;
        y->response.n_fields = x->response.n_fields;
    } else if (response_refuse(&y->response, status, message) < 0) {
        http_give_back(h->http, y);
        return NULL;
    }
    y->body = x->body; /* to be counted */
    http_log(h->http, y, x->response.head_sent || y->response.no_body ? h->given : y->response.body_bytes);
    y->body = NULL; /* it is x's */
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
    takeover_cut(h);
    takeover_end(h);
    h->x = y;
    h->released = true;
    http1_end_after_answer(h);
    exchange_abort(x, h->http->executor);
    http1_flush(y);
}

static void give_up(struct exchange *x, int status, const char *message)
{
    struct http1 *h = x->protocol;
    if (h->given_up) {
        return;
    }
    struct exchange *y = stand_in(h, x, status, message);
    bool unanswered = h->phase != PHASE_GONE && !x->response.head_sent && !takeover_has_begun(h);
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

void http1_on_give_up(void *p, bool begun)
{
    struct http1 *h = p;
    bool has_begun = http1_is_lent(h) && (h->x->response.head_sent || takeover_has_begun(h));
    if (http1_is_lent(h) && (begun || !has_begun)) {
        give_up(h->x, 503, "The application cannot take this request now");
    }
}

const struct exchange_ops http1_ops = {
    .flush = http1_flush,
    .hold = hold,
    .let_go = let_go,
    .wants_more = wants_more,
    .done = done,
    .give_up = give_up,
};

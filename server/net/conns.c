/* conns.c - all connections of a worker: who is looked at when, who has to leave. */
#include "server/net/conns.h"

#include <errno.h>
#include <stdlib.h>

#include "server/net/conn_inside.h"
#include "server/net/connout.h"
#include "server/net/send.h"

#define SWEEP_MS 500    /* how often deadlines are looked at */
#define LEAVING_MS 1000 /* for a handshake that is under way when the worker is told to leave, and to linger */

/* True for a client that takes what we send more slowly than the minimum rate. What the kernel still holds it has not
 * taken; and that may be megabytes, which a socket has to be rid of before it takes more from us. */
static bool is_too_slow(struct conn *c, uint64_t now)
{
    size_t rate = c->all->limits.send_rate;
    uint64_t passed = now - c->writing_since;
    if (!c->writer || rate == 0 || passed <= CONN_GRACE_MS) {
        return false;
    }
    size_t left = conn_untaken(c);
    uint64_t taken = c->writing_size > left ? c->writing_size - left : 0;
    if (taken * 1000 >= (uint64_t)rate * CONN_GRACE_MS) {
        c->writing_since = now; /* what it has taken does not excuse what it will not take */
        c->writing_size = left;
        return false;
    }
    return passed > CONN_GRACE_MS + taken * 1000 / rate;
}

static void on_sweep(uv_timer_t *timer)
{
    struct conns *cs = timer->data;
    uint64_t now = uv_now(cs->loop);
    for (struct conn *c = cs->first, *next; c; c = next) {
        next = c->next; /* a callback closes its own connection at the most */
        if (is_too_slow(c, now)) {
            conn_finish(c);
        } else if (c->deadline && now >= c->deadline) {
            c->deadline = 0;
            if (c->state == CONN_OPEN) {
                cs->protocol->expired(c->p);
            } else {
                if (c->state == CONN_HANDSHAKE && c->greeted) {
                    trouble_note(&cs->trouble, TROUBLE_HANDSHAKE, c->peer.addr, "it took too long");
                }
                c->refused = 408;
                conn_finish(c);
            }
        } else if (c->state == CONN_CLOSING && !c->writer) {
            conn_flush(c); /* it waits for room to say goodbye */
        }
    }
    trouble_tell(&cs->trouble, now);
    if (cs->count == 0) {
        uv_timer_stop(timer);
    }
    if (cs->on_room) {
        cs->on_room(cs->on_room_arg); /* accepting may have stopped for want of descriptors */
    }
}

void conns_sweep_soon(struct conns *cs)
{
    uv_timer_start(&cs->sweep, on_sweep, 0, SWEEP_MS);
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
    cs->read_buffer = malloc(CONN_PIECE);
    cs->plain_buffer = malloc(CONN_PIECE);
    cs->gather_buffer = malloc(SEND_RECORD_SIZE);
    if (!cs->read_buffer || !cs->plain_buffer || !cs->gather_buffer) {
        conns_finish(cs);
        return -ENOMEM;
    }
    uv_timer_init(loop, &cs->sweep);
    cs->sweep.data = cs;
    return 0;
}

void conns_cork(struct conns *cs, enum cork what)
{
    if (cs) {
        cs->corked = what;
    }
}

void conns_uncork(struct conns *cs)
{
    if (!cs) {
        return;
    }
    cs->corked = CORK_NONE;
    for (struct conn *c; (c = cs->first_corked);) {
        conn_take_from_cork(c);
        conn_flush(c);
    }
}

void conns_close_all(struct conns *cs)
{
    while (cs->first) {
        conn_finish(cs->first);
    }
}

void conns_drain(struct conns *cs)
{
    cs->draining = true;
    for (struct conn *c = cs->first, *next; c; c = next) {
        next = c->next;
        if (c->state == CONN_OPEN) {
            cs->protocol->drain(c->p);
        }
        if (c->state < CONN_OPEN || c->state == CONN_LINGER) {
            c->deadline = uv_now(cs->loop) + LEAVING_MS;
        }
    }
}

void conns_give_up(struct conns *cs, bool begun)
{
    for (struct conn *c = cs->first, *next; c; c = next) {
        next = c->next;
        if (c->state == CONN_OPEN) {
            cs->protocol->give_up(c->p, begun);
        }
    }
}

bool conns_shed(struct conns *cs)
{
    for (struct conn *c = cs->last; c; c = c->prev) {
        if (c->state == CONN_LINGER || (c->state == CONN_OPEN && cs->protocol->is_idle(c->p) && !conn_has_input(c))) {
            conn_close(c, false);
            if (c->state == CONN_LINGER) {
                conn_finish(c);
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

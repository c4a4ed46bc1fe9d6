/* exchange.c - one request and its response: states, who holds it. */
#include "server/http/exchange.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "server/base/slot.h"
#include "server/http/body.h"
#include "server/net/clientcert.h"
#include "server/net/peer.h"

static void set_state(struct exchange *x, enum exchange_state state)
{
    assert(state == EXCHANGE_DONE || (int)state == (int)x->state + 1);
    x->state = state;
}

void exchange_init(struct exchange *x)
{
    memset(x, 0, sizeof(*x));
    x->socket = -1;
    arena_init(&x->arena);
    arena_init(&x->kept);
    response_init(&x->response, &x->arena);
}

static void close_socket(struct exchange *x)
{
    if (x->socket >= 0) {
        close(x->socket);
        x->socket = -1;
    }
}

void exchange_reset(struct exchange *x)
{
    assert(!x->app && !x->queued);
    close_socket(x);
    body_destroy(x->body);
    x->body = NULL;
    response_init(&x->response, &x->arena);
    arena_reset(&x->arena);
    arena_reset(&x->kept);
    memset(&x->request, 0, sizeof(x->request));
    x->state = EXCHANGE_RECEIVING;
    x->ready_us = x->begun_us = x->answered_us = 0;
    x->bytes_in = x->nth = 0;
    atomic_store_explicit(&x->aborted, false, memory_order_relaxed);
    x->told = false;
    x->variables = NULL;
    x->protocol = NULL;
    x->ops = NULL;
    x->peer = NULL;
    x->peer_kept = false;
    x->failed = false;
    x->executor = NULL;
    x->next = NULL;
}

void exchange_finish(struct exchange *x)
{
    assert(!x->app && !x->queued);
    close_socket(x);
    body_destroy(x->body);
    response_finish(&x->response);
    arena_finish(&x->arena);
    arena_finish(&x->kept);
}

void exchange_submit(struct exchange *x, struct executor *e)
{
    set_state(x, EXCHANGE_READY);
    x->executor = e;
    exchange_note(x, &x->ready_us);
    e->submit(e, x);
}

void exchange_start(struct exchange *x)
{
    set_state(x, EXCHANGE_RUNNING);
}

void exchange_abort(struct exchange *x, struct executor *e)
{
    assert(x->state == EXCHANGE_READY || x->state == EXCHANGE_RUNNING);
    atomic_store(&x->aborted, true);
    e->resume(e, x);
}

void exchange_keep_peer(struct exchange *x)
{
    static const struct peer NOBODY = {.server_addr = ""};
    if (x->peer_kept) {
        return;
    }
    struct peer *copy = arena_alloc(&x->arena, sizeof(*copy));
    if (copy) {
        *copy = *x->peer;
    }
    if (copy && copy->proxied) {
        copy->proxied = arena_alloc(&x->arena, sizeof(*copy->proxied));
        copy = copy->proxied ? copy : NULL;
    }
    if (copy && copy->proxied) {
        *copy->proxied = *x->peer->proxied;
    }
    if (copy && copy->client) {
        copy->client = (struct clientcert *)arena_dup(&x->arena, x->peer->client, x->peer->client->size);
        copy = copy->client ? copy : NULL;
    }
    x->peer = copy ? copy : &NOBODY;
    x->peer_kept = true;
}

void exchange_flush(struct exchange *x)
{
    x->executor->flush(x->executor, x);
}

void exchange_show(const struct exchange *x, struct slot *slot)
{
    slot_show(slot, x->started_us, x->request.method, x->request.target, str_of(x->peer->addr));
}

void exchange_note_slow(const struct exchange *x, struct slot *slot, uint64_t now_us)
{
    slot_note_slow(slot, x->started_us, now_us, x->response.status, x->request.method, x->request.target,
                   str_of(x->peer->addr));
}

void exchange_send(struct exchange *x)
{
    x->ops->flush(x);
}

void exchange_hold(struct exchange *x)
{
    x->ops->hold(x);
}

void exchange_let_go(struct exchange *x)
{
    x->ops->let_go(x);
}

bool exchange_wants_more(const struct exchange *x)
{
    return x->ops->wants_more(x);
}

void exchange_give_up(struct exchange *x, int status, const char *message)
{
    assert(x->state == EXCHANGE_READY || x->state == EXCHANGE_RUNNING);
    x->ops->give_up(x, status, message);
}

void exchange_done(struct exchange *x, bool ok)
{
    set_state(x, EXCHANGE_DONE);
    x->failed = !ok;
    x->ops->done(x, ok);
}

/* inline.c - runs the application on the loop's thread, one step each time the client can take more. */
#include "server/exec/inline.h"

#include <stddef.h>

#include "server/base/clock.h"
#include "server/base/slot.h"
#include "server/exec/app.h"
#include "server/exec/standby.h"
#include "server/net/conns.h"

#define QUICK_US 500     /* answers wait for other calls of the application only while all are as short */
#define CORK_US 1000     /* ... and so long, but for the call that runs then */
#define TURN_US 1000     /* so long, the next requests of clients that pipeline come before the network */
#define BATCH_US 5000    /* so long, and for the call that runs then, the network waits for calls that are all short */
#define FADING 64        /* calls after which a long one is almost forgotten: a part of this is taken off for each */
#define PIECES_A_TURN 64 /* of one body; then the network and the other exchanges have their turn */

static struct inline_executor *from_base(struct executor *base)
{
    return (struct inline_executor *)((char *)base - offsetof(struct inline_executor, base));
}

/* Has its client waited for longer than those that had an answer in the last round? epoll does not tell: it reports
 * those first that it has reported before, and who was answered at the very end of a round would miss each second one.
 */
static bool is_early(const struct inline_executor *e, const struct exchange *x)
{
    return !e->in_round && x->state == EXCHANGE_READY && x->answered_round + 1 < e->base.round;
}

static void enqueue(struct executor *base, struct exchange *x)
{
    struct inline_executor *e = from_base(base);
    if (x->queued || x == e->running) {
        return;
    }
    x->queued = true;
    struct exchange *before = e->last; /* NULL: it is the first */
    if (is_early(e, x)) {
        before = e->early;
        e->early = x;
    }
    struct exchange **link = before ? &before->next : &e->first;
    x->next = *link;
    *link = x;
    if (!x->next) {
        e->last = x;
    }
}

static void show_waiting(struct inline_executor *e, int change)
{
    e->waiting += (size_t)change;
    slot_set(e->slot, GAUGE_waiting, e->waiting);
}

static void submit(struct executor *base, struct exchange *x)
{
    exchange_keep_peer(x); /* now: while the application runs, its connection may go, and the arena is in use */
    show_waiting(from_base(base), +1);
    enqueue(base, x);
}

/* Gives the interpreter up while it waits: what happens on the loop may need it. */
static void reclaim(struct inline_executor *e)
{
    if (!standby_reclaim(e->standby)) {
        e->app->detach(e->app);
        standby_wait(e->standby);
        e->app->attach(e->app);
    }
}

/* The application's time counts from its last piece on. A step in which the loop was never taken over is short. */
static void note_progress(struct inline_executor *e)
{
    if (e->slow) {
        atomic_store_explicit(&e->slot->busy_since_us, clock_mono_us(), memory_order_relaxed);
    }
}

/* From inside the application, so the loop is lent. */
static void flush(struct executor *base, struct exchange *x)
{
    struct inline_executor *e = from_base(base);
    reclaim(e);
    exchange_send(x);
    note_progress(e);
    standby_lend(e->standby);
}

static struct exchange *dequeue(struct inline_executor *e)
{
    struct exchange *x = e->first;
    e->first = x->next;
    if (!e->first) {
        e->last = NULL;
    }
    x->next = NULL;
    x->queued = false;
    return x;
}

void inline_init(struct inline_executor *e, struct app *app, struct slot *slot)
{
    *e = (struct inline_executor){
        .base = {.submit = submit, .resume = enqueue, .flush = flush}, .app = app, .slot = slot, .attached = true};
}

bool inline_has_work(const struct inline_executor *e)
{
    return e->first || e->app->reap_pending(e->app);
}

void inline_attach(struct inline_executor *e)
{
    if (!e->attached) {
        e->app->attach(e->app);
        e->attached = true;
    }
}

void inline_detach(struct inline_executor *e)
{
    if (e->attached) {
        e->app->detach(e->app);
        e->attached = false;
    }
}

/* Gives `x` back; the protocol may submit it again at once, as another request. */
static void give_back(struct inline_executor *e, struct exchange *x, bool ok)
{
    e->running = NULL;
    exchange_done(x, ok);
}

static void hold(struct inline_executor *e)
{
    if (e->standby && !e->slow && !e->holding) {
        e->holding = true;
        exchange_hold(e->running);
    }
}

static void let_go(struct inline_executor *e)
{
    if (e->holding) {
        e->holding = false;
        exchange_let_go(e->running);
    }
}

void inline_taken(struct inline_executor *e)
{
    e->slow = true;
    let_go(e);
    conns_uncork(e->conns);
}

enum entry { BEGIN, NEXT, END };

/* Enters the application; meanwhile the loop may be taken over. */
static enum app_result call(struct inline_executor *e, struct exchange *x, enum entry entry)
{
    enum app_result result = APP_DONE;

    note_progress(e);
    standby_lend(e->standby);
    switch (entry) {
    case BEGIN:
        result = e->app->begin(e->app, x);
        break;
    case NEXT:
        result = e->app->next(e->app, x);
        break;
    case END:
        e->app->end(e->app, x);
        break;
    }
    reclaim(e);
    return result;
}

/* The next piece may be asked for. */
static bool goes_on(const struct exchange *x, enum app_result result)
{
    return !x->aborted && (result == APP_WHOLE || (result == APP_MORE && exchange_wants_more(x)));
}

/* Runs the application for `x` as far as its client can follow. */
static void step(struct inline_executor *e, struct exchange *x)
{
    enum app_result result = APP_MORE;

    e->slow = false;
    if (x->state == EXCHANGE_READY) {
        show_waiting(e, -1);
        exchange_start(x);
        if (x->aborted) {
            give_back(e, x, false); /* the client left before the application saw the request */
            return;
        }
        exchange_note(x, &x->begun_us);
        result = call(e, x, BEGIN);
        if (result == APP_MORE) {
            hold(e);
        }
        if (result != APP_FAILED) { /* else what there is must not begin an answer that cannot be completed */
            exchange_send(x);
        }
    }
    /* PEP 3333: a piece is sent before the next one is asked for, or while it is made: pieces that come quickly are
     * held and go out together, unless the standby thread takes the loop over. */
    int pieces = 0;
    while (goes_on(x, result) && pieces < PIECES_A_TURN) {
        hold(e);
        result = call(e, x, NEXT);
        if (result != APP_FAILED) {
            exchange_send(x);
        }
        pieces++;
    }
    let_go(e);
    if (goes_on(x, result)) {
        e->running = NULL;
        enqueue(&e->base, x);
        return;
    }
    if (result == APP_MORE && !x->aborted) {
        return; /* `resume` comes when the client has caught up */
    }
    call(e, x, END);
    give_back(e, x, result == APP_DONE || response_is_whole(&x->response));
}

/* Of the step that began then; returns the time. */
static uint64_t note_length(struct inline_executor *e, uint64_t began_us)
{
    uint64_t now = clock_mono_us();
    e->longest_us -= e->longest_us / FADING;
    if (now - began_us > e->longest_us) {
        e->longest_us = now - began_us;
    }
    return now;
}

/* One step for each exchange that is queued now, as far as the time suffices: the rest stays first in the queue. */
static void run_queued(struct inline_executor *e)
{
    struct exchange *last = e->last, *x = NULL;
    bool several = e->first != last;
    uint64_t now = clock_mono_us(), corked_us = now, began_us = now;
    while (x != last && now - began_us < BATCH_US) {
        x = dequeue(e);
        exchange_show(x, e->slot);
        atomic_store_explicit(&e->slot->busy_since_us, now, memory_order_relaxed);
        slot_set(e->slot, GAUGE_running, 1);
        e->running = x;
        if (e->longest_us < QUICK_US) {
            conns_cork(e->conns, several ? CORK_ALL : CORK_LAST);
        }
        standby_begin(e->standby);
        step(e, x);
        standby_end(e->standby);
        e->running = NULL;
        now = note_length(e, now);
        if (now - corked_us >= CORK_US) {
            conns_uncork(e->conns);
            corked_us = now;
        }
    }
    conns_uncork(e->conns);
}

void inline_run(struct inline_executor *e)
{
    e->long_round = false;
    if (!inline_has_work(e)) {
        return;
    }
    inline_attach(e);
    uint64_t began_us = clock_mono_us();
    /* What was queued meanwhile waits for the network's turn; but where a client pipelines, its next request is at hand
     * once the answer before it has left. */
    e->in_round = true;
    do {
        run_queued(e);
        e->long_round = clock_mono_us() - began_us >= TURN_US;
    } while (e->first && e->first->state == EXCHANGE_READY && !e->long_round);
    e->in_round = false;
    e->base.round++;
    e->early = e->last; /* what is left has waited for longer than what will come */
    atomic_store_explicit(&e->slot->busy_since_us, 0, memory_order_relaxed);
    slot_set(e->slot, GAUGE_running, 0);
    e->app->reap(e->app);
}

/* pool.c - N threads run the application; output is posted to the loop; a slow client makes its thread wait. */
#include "server/exec/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/slot.h"
#include "server/exec/app.h"
#include "server/http/exchange.h"
#include "server/net/conns.h"

#define NAME_SIZE 16 /* of a thread, with its NUL: the kernel's limit */
#define TURN_US 4000 /* of a thread: less than the 5 ms after which CPython's interpreter goes to one that waits */
#define REAP_MS 100  /* what was put aside waits this long for a thread that comes by anyway */

/* What the loop is asked to do for an exchange: bits of exchange.errands. */
enum { SEND = 1, GIVE_BACK = 2, COMPLETE = 4 };

/* Exchanges, linked by exchange.next; `queued` is true in them. */
struct line {
    struct exchange *first, *last;
};

struct runner {
    struct pool *pool;
    pthread_t thread;
    unsigned number; /* from 1 */
    /* Its own. */
    bool attached;        /* it holds the interpreter */
    uint64_t attached_us; /* since when */

    /* Under the pool's lock. */
    struct exchange *x;             /* in the application; borrowed */
    bool waits;                     /* for the loop and for its client */
    pthread_cond_t go;              /* it need not wait any more */
    uint64_t since_us;              /* when the application was entered; 0 while it is not */
    struct runner *older, *younger; /* in the list of those that are in the application */
};

struct pool {
    struct executor base;
    struct app *app;     /* borrowed */
    struct slot *slot;   /* borrowed */
    struct conns *conns; /* borrowed: corked while posted answers are sent; NULL: never */

    /* The loop's. */
    uv_async_t posted_any;
    uv_timer_t reaping;
    size_t lent;              /* exchanges */
    struct exchange *sending; /* in its protocol's flush now */

    pthread_mutex_t lock; /* held for a few lines at a time; never while the interpreter is waited for */
    pthread_cond_t work;  /* there is something to do, or to end */
    struct line ready;    /* for the threads */
    struct line posted;   /* for the loop */
    unsigned idle;        /* threads that wait for work */
    bool next_waits;      /* a thread waits for the interpreter, to take what is first in `ready` */
    bool called;          /* a thread was woken for that, and is on its way */
    bool reap, stop;
    struct runner *oldest, *youngest; /* in the application, by since_us */
    unsigned running;                 /* how many these are */
    const struct exchange *shown;     /* in the slot */
    size_t waiting;                   /* in `ready` */

    unsigned n; /* threads that run */
    struct runner runners[];
};

static struct pool *from_base(struct executor *base)
{
    return (struct pool *)((char *)base - offsetof(struct pool, base));
}

static void line_append(struct line *l, struct exchange *x)
{
    assert(!x->queued);
    x->queued = true;
    x->next = NULL;
    *(l->first ? &l->last->next : &l->first) = x;
    l->last = x;
}

static struct exchange *line_take(struct line *l)
{
    struct exchange *x = l->first;
    l->first = x->next;
    x->next = NULL;
    x->queued = false;
    return x;
}

/* How long calls have been running: under the lock */

static void show(struct pool *p, int change)
{
    const struct runner *r = p->oldest;
    p->running += (unsigned)change;
    slot_set(p->slot, GAUGE_running, p->running);
    if (r && r->x != p->shown) {
        exchange_show(r->x, p->slot);
    }
    p->shown = r ? r->x : NULL;
    atomic_store_explicit(&p->slot->busy_since_us, r ? r->since_us : 0, memory_order_relaxed);
}

static void enter(struct runner *r, struct exchange *x)
{
    struct pool *p = r->pool;
    r->x = x;
    r->since_us = clock_mono_us();
    r->older = p->youngest;
    r->younger = NULL;
    *(r->older ? &r->older->younger : &p->oldest) = r;
    p->youngest = r;
    show(p, +1);
}

static void leave(struct runner *r)
{
    struct pool *p = r->pool;
    if (r->since_us == 0) {
        return; /* it has left before: see unlimit */
    }
    *(r->older ? &r->older->younger : &p->oldest) = r->younger;
    *(r->younger ? &r->younger->older : &p->youngest) = r->older;
    r->since_us = 0;
    show(p, -1);
}

/* The threads */

/* Under the lock, which is let go meanwhile: waiting for the interpreter can take long. */
static void attach(struct runner *r)
{
    struct pool *p = r->pool;
    p->next_waits = true;
    pthread_mutex_unlock(&p->lock);
    p->app->attach(p->app);
    pthread_mutex_lock(&p->lock);
    p->next_waits = false;
    r->attached = true;
    r->attached_us = clock_mono_us();
}

/* The same. */
static void detach(struct runner *r)
{
    struct pool *p = r->pool;
    r->attached = false;
    pthread_mutex_unlock(&p->lock);
    p->app->detach(p->app);
    pthread_mutex_lock(&p->lock);
}

/* One thread waits for the interpreter while another has it, so that it goes on as soon as that one waits for
 * something else. More would only get in each other's way. Under the lock. */
static void call_next(struct pool *p)
{
    if (p->idle > 0 && !p->next_waits && !p->called) {
        p->called = true;
        pthread_cond_signal(&p->work);
    }
}

/* Under the lock; uv_async_send has to follow. */
static void post(struct pool *p, struct exchange *x, unsigned errands)
{
    x->errands |= errands;
    if (!x->queued) {
        line_append(&p->posted, x);
    }
}

/* The executor's `flush`: see exchange_flush. */
static void hand_over(struct executor *base, struct exchange *x)
{
    struct pool *p = from_base(base);
    struct runner *r = x->runner;

    if (x->response.finished || !response_has_output(&x->response)) {
        return; /* finished: it is the loop's */
    }
    p->app->detach(p->app);
    pthread_mutex_lock(&p->lock);
    leave(r); /* the client's time, not the application's */
    r->waits = true;
    post(p, x, SEND);
    pthread_mutex_unlock(&p->lock);
    uv_async_send(&p->posted_any);

    pthread_mutex_lock(&p->lock);
    while (r->waits) {
        pthread_cond_wait(&r->go, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    p->app->attach(p->app);
    pthread_mutex_lock(&p->lock);
    enter(r, x);
    pthread_mutex_unlock(&p->lock);
}

/* For good: the response is complete. */
static void hand_in(struct runner *r, struct exchange *x)
{
    struct pool *p = r->pool;
    pthread_mutex_lock(&p->lock);
    leave(r); /* the time limit is for each piece */
    post(p, x, SEND);
    enter(r, x);
    pthread_mutex_unlock(&p->lock);
    uv_async_send(&p->posted_any);
}

/* Runs the application for `x`. True when its response is complete. */
static bool call(struct runner *r, struct exchange *x)
{
    struct pool *p = r->pool;
    struct app *app = p->app;
    exchange_note(x, &x->begun_us);
    enum app_result result = app->begin(app, x);
    bool complete = false;

    /* PEP 3333: each piece is sent before the next one is asked for. */
    while (result == APP_MORE || result == APP_WHOLE) {
        if (result == APP_MORE) {
            hand_over(&p->base, x);
        } else if (!complete) {
            complete = true;
            hand_in(r, x);
        }
        if (x->aborted) {
            break;
        }
        result = app->next(app, x);
    }
    if (result == APP_DONE && !complete) { /* else what there is must not begin an answer that cannot be completed */
        complete = true;
        hand_in(r, x);
    }
    app->end(app, x);
    return complete;
}

/* Takes what is first in `ready`, and answers it. The lock is held before and after. */
static void serve(struct runner *r)
{
    struct pool *p = r->pool;
    struct exchange *x = line_take(&p->ready);
    bool wanted = !x->aborted; /* else the client left before the application saw the request */
    bool complete = false;

    slot_set(p->slot, GAUGE_waiting, --p->waiting);
    if (p->ready.first) {
        call_next(p);
    }
    if (wanted) {
        x->runner = r;
        enter(r, x);
        pthread_mutex_unlock(&p->lock);
        complete = call(r, x);
        pthread_mutex_lock(&p->lock);
        leave(r);
        x->runner = NULL;
    }
    post(p, x, GIVE_BACK | (complete ? COMPLETE : 0));
    pthread_mutex_unlock(&p->lock);
    uv_async_send(&p->posted_any);
    if (p->app->reap_pending(p->app)) {
        p->app->reap(p->app);
    }
    pthread_mutex_lock(&p->lock);
}

static void reap(struct pool *p)
{
    p->reap = false;
    pthread_mutex_unlock(&p->lock);
    p->app->reap(p->app);
    pthread_mutex_lock(&p->lock);
}

/* Between two calls, before the interpreter takes itself away from this thread within one: then that client would wait
 * for the calls of the other threads. */
static bool is_others_turn(const struct runner *r)
{
    return r->pool->next_waits && clock_mono_us() - r->attached_us >= TURN_US;
}

static void *run(void *arg)
{
    struct runner *r = arg;
    struct pool *p = r->pool;
    char name[NAME_SIZE];

    snprintf(name, sizeof(name), "cwsgi-%u", r->number);
    pthread_setname_np(pthread_self(), name); /* it only helps those who look */
    pthread_mutex_lock(&p->lock);
    for (;;) {
        bool work = p->ready.first || p->reap;
        if (r->attached && (!work || is_others_turn(r))) {
            detach(r); /* not sooner: with more to do, the interpreter is kept */
        } else if (r->attached && p->ready.first) {
            serve(r);
        } else if (r->attached) {
            reap(p);
        } else if (work && !p->next_waits) {
            attach(r);        /* before anything is taken: what waits for the interpreter waits in `ready`, in order */
        } else if (p->stop) { /* nothing is lent; what waits to be reaped goes with the application */
            break;
        } else {
            p->idle++;
            pthread_cond_wait(&p->work, &p->lock);
            p->idle--;
            p->called = false;
        }
    }
    pthread_mutex_unlock(&p->lock);
    p->app->leave(p->app);
    return NULL;
}

/* The loop */

static void submit(struct executor *base, struct exchange *x)
{
    struct pool *p = from_base(base);
    exchange_keep_peer(x); /* now, since the arena is the thread's if the client leaves later */
    exchange_start(x);
    p->lent++;
    pthread_mutex_lock(&p->lock);
    line_append(&p->ready, x);
    slot_set(p->slot, GAUGE_waiting, ++p->waiting);
    call_next(p);
    pthread_mutex_unlock(&p->lock);
}

/* Lets the thread go on if it waits for no more than this. */
static void resume(struct executor *base, struct exchange *x)
{
    struct pool *p = from_base(base);
    if (x == p->sending || !(x->aborted || exchange_wants_more(x))) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    struct runner *r = x->runner;
    if (r && r->waits && !(x->errands & SEND)) { /* not before the response is out of the loop's hands */
        r->waits = false;
        pthread_cond_signal(&r->go);
    }
    pthread_mutex_unlock(&p->lock);
}

static void unlimit(struct executor *base, struct exchange *x)
{
    struct pool *p = from_base(base);
    pthread_mutex_lock(&p->lock);
    if (x->runner) {
        leave(x->runner);
    }
    pthread_mutex_unlock(&p->lock);
}

static void attend(struct pool *p, struct exchange *x, unsigned errands)
{
    if (errands & SEND) {
        p->sending = x;
        exchange_send(x);
        p->sending = NULL;
        resume(&p->base, x);
    }
    if (errands & GIVE_BACK) {
        p->lent--;
        exchange_done(x, errands & COMPLETE);
    }
}

static void on_posted(uv_async_t *handle)
{
    struct pool *p = handle->data;
    conns_cork(p->conns, CORK_ALL);
    pthread_mutex_lock(&p->lock);
    struct exchange *last = p->posted.first ? p->posted.last : NULL;
    for (struct exchange *x = NULL; last && x != last;) { /* what is posted meanwhile wakes us again */
        x = line_take(&p->posted);
        unsigned errands = x->errands;
        x->errands = 0;
        pthread_mutex_unlock(&p->lock);
        attend(p, x, errands);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    conns_uncork(p->conns);
}

/* No thread came by, so one is sent. If all are busy, the first that is through will do it. */
static void on_reaping(uv_timer_t *timer)
{
    struct pool *p = timer->data;
    if (!p->app->reap_pending(p->app)) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    if (p->idle > 0) {
        p->reap = true;
        call_next(p);
    }
    pthread_mutex_unlock(&p->lock);
}

void pool_tend(struct pool *p)
{
    if (p->app->reap_pending(p->app) && !uv_is_active((uv_handle_t *)&p->reaping)) {
        uv_timer_start(&p->reaping, on_reaping, REAP_MS, 0);
    }
}

/* Life */

static void join(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->n; i++) {
        pthread_join(p->runners[i].thread, NULL);
    }
}

int pool_create(struct pool **out, struct conns *conns, uv_loop_t *loop, unsigned threads, struct app *app,
                struct slot *slot)
{
    struct pool *p = calloc(1, sizeof(*p) + threads * sizeof(p->runners[0]));
    if (!p) {
        return -ENOMEM;
    }
    p->base = (struct executor){.submit = submit, .resume = resume, .flush = hand_over, .unlimit = unlimit};
    p->app = app;
    p->slot = slot;
    p->conns = conns;
    pthread_mutex_init(&p->lock, NULL); /* neither can fail with default attributes */
    pthread_cond_init(&p->work, NULL);
    uv_timer_init(loop, &p->reaping);
    p->reaping.data = p;
    int r = uv_async_init(loop, &p->posted_any, on_posted);
    p->posted_any.data = p;
    for (unsigned i = 0; r == 0 && i < threads; i++) {
        struct runner *one = &p->runners[i];
        one->pool = p;
        one->number = i + 1;
        pthread_cond_init(&one->go, NULL);
        r = -pthread_create(&one->thread, NULL, run, one);
        if (r < 0) {
            pthread_cond_destroy(&one->go);
        }
        p->n += r == 0;
    }
    *out = p;
    return p->n > 0 ? 0 : r;
}

unsigned pool_threads(const struct pool *p)
{
    return p->n;
}

struct executor *pool_executor(struct pool *p)
{
    return &p->base;
}

struct exchange *pool_call(struct pool *p, size_t i, uint64_t *since_us, pthread_t *thread)
{
    assert(i < p->n);
    struct runner *r = &p->runners[i];
    pthread_mutex_lock(&p->lock);
    struct exchange *x = r->since_us > 0 ? r->x : NULL;
    *since_us = r->since_us;
    pthread_mutex_unlock(&p->lock);
    *thread = r->thread;
    return x;
}

bool pool_is_idle(const struct pool *p)
{
    return p->lent == 0;
}

bool pool_stop(struct pool *p)
{
    if (!pool_is_idle(p)) {
        return false;
    }
    join(p);
    return true;
}

void pool_destroy(struct pool *p)
{
    if (!p) {
        return;
    }
    for (unsigned i = 0; i < p->n; i++) {
        pthread_cond_destroy(&p->runners[i].go);
    }
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

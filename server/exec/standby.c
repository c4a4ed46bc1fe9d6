/* standby.c - a second thread that takes the loop over while the application computes for long. */
#include "server/exec/standby.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define PATIENCE_NS (5 * 1000 * 1000) /* after which the network is not kept waiting any longer */
#define STACK_SIZE ((size_t)256 * 1024)

enum owner {
    OWNER_LOOP_THREAD,
    OWNER_NOBODY, /* lent: the standby thread may take it, the loop's thread may take it back */
    OWNER_STANDBY,
};

struct standby {
    const struct standby_events *events;
    void *arg;
    uv_async_t back; /* ends the standby thread's turn */

    atomic_int owner;           /* enum owner */
    atomic_uint_fast64_t steps; /* odd between begin and end */
    atomic_bool armed;          /* the thread looks at `steps` every now and then */
    atomic_bool wanted;         /* the loop's thread waits for the loop */

    pthread_mutex_t lock; /* for waiting only */
    pthread_cond_t arm, returned;
    bool stop; /* under the lock */
    bool runs; /* the thread was started, and not joined yet */
    pthread_t thread;
};

/* False when it is to stop. */
static bool wait_until_armed(struct standby *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->stop && !atomic_load(&s->armed)) {
        pthread_cond_wait(&s->arm, &s->lock);
    }
    bool go_on = !s->stop;
    pthread_mutex_unlock(&s->lock);
    return go_on;
}

static void wait_a_moment(struct standby *s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += PATIENCE_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&s->lock);
    for (int r = 0; !s->stop && r == 0;) {
        r = pthread_cond_timedwait(&s->arm, &s->lock, &until);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Until the loop's thread wants it back. */
static void keep_loop(struct standby *s)
{
    s->events->taken(s->arg);
    while (!atomic_load(&s->wanted)) {
        s->events->turn(s->arg);
    }
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->owner, OWNER_LOOP_THREAD);
    pthread_cond_signal(&s->returned);
    pthread_mutex_unlock(&s->lock);
}

/* Looks on until the application has not run for a while: being woken is dearer than looking once more. */
static void watch(struct standby *s)
{
    for (uint64_t seen = 0;;) {
        uint64_t now = atomic_load(&s->steps);
        if (now % 2 == 0 && now == seen) {
            atomic_store(&s->armed, false);
            if (atomic_load(&s->steps) == now) {
                return; /* else it has begun just now, and may have found us armed */
            }
            atomic_store(&s->armed, true);
            continue;
        }
        int nobody = OWNER_NOBODY;
        if (now == seen && atomic_compare_exchange_strong(&s->owner, &nobody, OWNER_STANDBY)) {
            keep_loop(s);
        }
        seen = now;
        wait_a_moment(s);
        pthread_mutex_lock(&s->lock);
        bool stop = s->stop;
        pthread_mutex_unlock(&s->lock);
        if (stop) {
            return;
        }
    }
}

static void *run(void *arg)
{
    struct standby *s = arg;
    pthread_setname_np(pthread_self(), "cwsgi-standby"); /* it only helps those who look */
    while (wait_until_armed(s)) {
        watch(s);
    }
    return NULL;
}

static void on_back(uv_async_t *handle)
{
    (void)handle; /* the loop has turned: that was all */
}

/* Signals stay with the loop's own thread: the application may count on where they arrive. */
static int start_thread(struct standby *s)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    sigfillset(&all);
    int r = pthread_attr_init(&attributes);
    if (r != 0) {
        return -r;
    }
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&s->thread, &attributes, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    s->runs = r == 0;
    return -r;
}

int standby_create(struct standby **out, uv_loop_t *loop, const struct standby_events *events, void *arg)
{
    pthread_condattr_t monotonic;
    struct standby *s = calloc(1, sizeof(*s));

    *out = s;
    if (!s) {
        return -ENOMEM;
    }
    s->events = events;
    s->arg = arg;
    pthread_mutex_init(&s->lock, NULL); /* none of these can fail on Linux */
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->arm, &monotonic);
    pthread_cond_init(&s->returned, NULL);
    pthread_condattr_destroy(&monotonic);
    int r = uv_async_init(loop, &s->back, on_back);
    return r < 0 ? r : start_thread(s);
}

void standby_stop(struct standby *s)
{
    if (!s || !s->runs) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_signal(&s->arm);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    s->runs = false;
}

void standby_destroy(struct standby *s)
{
    if (!s) {
        return;
    }
    standby_stop(s);
    pthread_cond_destroy(&s->returned);
    pthread_cond_destroy(&s->arm);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void standby_begin(struct standby *s)
{
    if (!s) {
        return;
    }
    atomic_fetch_add(&s->steps, 1);
    if (!atomic_load(&s->armed)) {
        pthread_mutex_lock(&s->lock);
        atomic_store(&s->armed, true);
        pthread_cond_signal(&s->arm);
        pthread_mutex_unlock(&s->lock);
    }
}

void standby_end(struct standby *s)
{
    if (s) {
        atomic_fetch_add_explicit(&s->steps, 1, memory_order_release);
    }
}

void standby_lend(struct standby *s)
{
    if (s) {
        atomic_store_explicit(&s->owner, OWNER_NOBODY, memory_order_release);
    }
}

bool standby_reclaim(struct standby *s)
{
    int nobody = OWNER_NOBODY;
    return !s || atomic_compare_exchange_strong(&s->owner, &nobody, OWNER_LOOP_THREAD);
}

void standby_wait(struct standby *s)
{
    atomic_store(&s->wanted, true);
    uv_async_send(&s->back);
    pthread_mutex_lock(&s->lock);
    while (atomic_load(&s->owner) != OWNER_LOOP_THREAD) {
        pthread_cond_wait(&s->returned, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    atomic_store(&s->wanted, false);
}

bool standby_has_loop(const struct standby *s)
{
    return s && atomic_load_explicit(&s->owner, memory_order_relaxed) == OWNER_STANDBY;
}

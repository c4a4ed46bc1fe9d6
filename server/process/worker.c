/* worker.c - one worker: its life, and what it does in each turn of the loop. */
#include "server/process/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <uv.h>

#include "server/base/clock.h"
#include "server/base/descriptors.h"
#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/base/sink.h"
#include "server/config/settings.h"
#include "server/exec/pool.h"
#include "server/exec/standby.h"
#include "server/http/exchange.h"
#include "server/net/conn.h"
#include "server/net/listener.h"
#include "server/process/doors.h"
#include "server/process/hooks.h"
#include "server/process/leaving.h"
#include "server/process/reloader.h"
#include "server/process/renewal.h"
#include "server/process/worker_inside.h"
#include "server/process/workersignals.h"

#define LOG_SHARES 16        /* of the size at which a log is rotated: so much is written before the master is told */
#define LOG_EVERY_MS 10      /* under load, lines wait for each other so long */
#define RETRY_MS 50          /* for a slow reader of the access log */
#define ASIDE_MS 20          /* how long a busy worker leaves new connections to others before it looks again */
#define BUSY_US (100 * 1000) /* a call that has lasted so long will go on */

/* Accepting */

static int on_accepted(void *arg, int fd, const struct listener *l, const struct peer *peer)
{
    struct worker *w = arg;
    struct tls_context *tls = l->tls ? renewal_take(w->deps->renewal) : NULL;
    w->http.own.certs = w->deps->renewal ? renewal_certs(w->deps->renewal) : NULL;
    return conn_open(&w->conns, fd, l->kind == LISTENER_UNIX, peer, tls);
}

/* Another worker could serve a new client soon: one whose calls are short is not busy for long. */
static bool others_are_free(const struct worker *w)
{
    struct scoreboard *sb = w->deps->scoreboard;
    uint64_t now = clock_mono_us();
    for (size_t i = 0; i < scoreboard_size(sb); i++) {
        const struct slot *other = scoreboard_slot(sb, i);
        uint64_t since = atomic_load_explicit(&other->busy_since_us, memory_order_relaxed);
        if (other != w->slot && atomic_load_explicit(&other->state, memory_order_relaxed) == SLOT_READY &&
            (since == 0 || now < since + BUSY_US)) {
            return true;
        }
    }
    return false;
}

static void on_aside(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    doors_resume(w->doors);
}

static bool has_room(void *arg)
{
    struct worker *w = arg;
    if (standby_has_loop(w->standby) && others_are_free(w)) {
        uv_timer_start(&w->aside, on_aside, ASIDE_MS, 0);
        return false;
    }
    return w->conns.count < w->conns.limits.max || conns_shed(&w->conns);
}

static void on_exhausted(void *arg, int error)
{
    struct worker *w = arg;
    if (conns_shed(&w->conns)) {
        return; /* on_room follows */
    }
    log_warning("Cannot accept connections at the moment: %s; see ulimit -n and --worker-connections",
                strerror(-error));
    conns_watch(&w->conns); /* so that on_room comes even if there is no connection to be closed */
}

static const struct doors_events DOORS_EVENTS = {
    .accepted = on_accepted,
    .has_room = has_room,
    .exhausted = on_exhausted,
};

static void on_room(void *arg)
{
    struct worker *w = arg;
    if (w->state == SERVING && w->conns.count < w->conns.limits.max) {
        doors_resume(w->doors);
    }
}

/* What the master is told */

static void wake_master(const struct worker *w)
{
    ssize_t r;
    do {
        r = write(w->ready_fd, "r", 1);
    } while (r < 0 && errno == EINTR);
    if (r < 0 && errno != EAGAIN) { /* EAGAIN: the pipe is full of news already */
        log_error("Cannot reach the master: %s", strerror(errno));
    }
}

static void tell_master(const struct worker *w, enum slot_state state)
{
    atomic_store(&w->slot->state, state);
    wake_master(w);
}

static void ask_to_retire(struct worker *w)
{
    if (w->max_requests && w->http.served >= w->max_requests) {
        w->max_requests = 0;
        log_info("Autorestarting worker after %llu requests", (unsigned long long)w->http.served);
        tell_master(w, SLOT_WANTS_RETIRE);
    }
}

/* Logs */

static void reopen_logs(struct worker *w)
{
    int r = log_reopen();
    if (r == 0 && w->http.sink) {
        r = sink_reopen(w->http.sink);
    }
    if (r < 0) {
        log_error("Cannot reopen the logs: %s; the old files stay in use", strerror(-r));
    }
}

static void on_reopen(uv_signal_t *handle, int number)
{
    (void)number;
    reopen_logs(handle->data);
}

/* The turn of the loop that it makes writes what waits. */
static void on_log_due(uv_timer_t *timer)
{
    (void)timer;
}

/* A write costs more than the line: under load the lines of some turns share one. After a pause it is made at once. */
static void settle_log(struct worker *w)
{
    uint64_t now = uv_now(&w->loop);
    if (!sink_has_lines(w->http.sink)) {
        return;
    }
    bool early = now < w->log_written_ms + LOG_EVERY_MS;
    if (early || sink_flush(w->http.sink)) {
        if (!uv_is_active((uv_handle_t *)&w->log_due)) {
            uv_timer_start(&w->log_due, on_log_due, early ? LOG_EVERY_MS : RETRY_MS, 0);
        }
    }
    if (early) {
        return;
    }
    w->log_written_ms = now;
    size_t limit = w->deps->settings->log_rotate_size;
    if (limit > 0 && sink_written(w->http.sink) >= limit / LOG_SHARES) { /* the master looks how large the log is */
        sink_reset_written(w->http.sink);
        wake_master(w);
    }
}

/* Calls that take too long */

static bool call_of(void *arg, size_t i, struct overdue_call *out)
{
    struct worker *w = arg;
    if (w->pool) {
        out->x = pool_call(w->pool, i, &out->since_us, &out->thread);
    } else {
        *out = (struct overdue_call){
            .x = standby_has_loop(w->standby) ? w->executor.running : NULL,
            .since_us = atomic_load_explicit(&w->slot->busy_since_us, memory_order_relaxed),
            .thread = w->thread,
        };
    }
    return out->x;
}

static void on_over(void *arg, const struct overdue_call *c)
{
    struct worker *w = arg;
    w->deps->hooks->stacks(w->deps->hooks, c->thread);
    exchange_give_up(c->x, 504, "The application did not answer in time");
    if (!w->hung) {
        w->hung = true;
        leaving_drain(w);
        tell_master(w, SLOT_HUNG);
    }
}

static const struct overdue_events OVERDUE_EVENTS = {.call = call_of, .over = on_over};

/* Those that wait for a thread that does not come back get their answer; those that run have until graceful_timeout. */
static void tend_hung(struct worker *w)
{
    if (overdue_all(&w->overdue)) {
        conns_give_up(&w->conns, false);
    }
    if (!w->hung_only && w->conns.count == 0 && overdue_only(&w->overdue)) {
        w->hung_only = true;
        tell_master(w, SLOT_HUNG_ONLY);
    }
}

/* A turn of the loop */

static void show_connections(struct worker *w)
{
    const struct conns *cs = &w->conns;
    slot_set(w->slot, GAUGE_connections, cs->count);
    slot_set_count(w->slot, COUNT_accepted, cs->accepted);
    slot_set_count(w->slot, COUNT_handshakes, cs->handshakes);
    slot_set_count(w->slot, COUNT_handshakes_failed, cs->handshakes_failed);
}

/* What is to be done after each turn of the loop. */
static void settle(struct worker *w)
{
    if (w->http.sink) {
        settle_log(w);
    }
    if (w->hung) {
        tend_hung(w);
    }
    show_connections(w);
}

/* The standby thread's turn: the network alone. */
static void on_standby_turn(void *arg)
{
    struct worker *w = arg;
    uv_run(&w->loop, UV_RUN_ONCE);
    settle(w);
}

static void on_taken(void *arg)
{
    struct worker *w = arg;
    inline_taken(&w->executor);
    overdue_watch(&w->overdue);
    settle(w);
}

static const struct standby_events STANDBY_EVENTS = {.taken = on_taken, .turn = on_standby_turn};

/* One turn: the network, then the application for what has become ready, then the log. */
static void turn(struct worker *w)
{
    bool work = !w->pool && inline_has_work(&w->executor);
    if (!work) {
        inline_detach(&w->executor); /* the thread is about to wait: others may run Python meanwhile */
    }
    doors_hurry(w->doors, w->executor.long_round);
    uv_run(&w->loop, work ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    show_connections(w); /* before a call that may take long */
    if (w->pool) {
        pool_tend(w->pool);
        if (!pool_is_idle(w->pool)) {
            overdue_watch(&w->overdue);
        }
    } else {
        inline_run(&w->executor);
    }
    if (w->interrupted) {
        w->interrupted = false;
        inline_attach(&w->executor);
        w->deps->hooks->worker_int(w->deps->hooks);
    }
    settle(w);
    ask_to_retire(w);
}

/* From the start to the end */

static uint64_t random_below(uint64_t limit)
{
    uint64_t n = 0;
    if (limit == 0 || getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n)) {
        return 0;
    }
    return n % limit;
}

/* With a loop, and nothing else that can fail. NULL: it was told why. */
static struct worker *create(const struct seat *seat, const struct worker_deps *deps)
{
    const struct settings *s = deps->settings;
    struct worker *w = calloc(1, sizeof(*w));
    if (!w) {
        return NULL;
    }
    w->deps = deps;
    w->slot = scoreboard_slot(deps->scoreboard, seat->slot);
    w->ready_fd = seat->ready_fd;
    w->master_pid = getppid();
    w->thread = pthread_self();
    w->max_requests =
        s->max_requests ? (uint64_t)s->max_requests + random_below((uint64_t)s->max_requests_jitter + 1) : 0;
    int r = uv_loop_init(&w->loop);
    if (r < 0) {
        log_error("Cannot start the event loop: %s", strerror(-r));
        free(w);
        return NULL;
    }
    inline_init(&w->executor, deps->app, w->slot);
    return w;
}

/* As many as there can be: where an account may have no more, or its memory is bounded, fewer have to do. 0 or -errno.
 */
static int start_threads(struct worker *w)
{
    unsigned threads = (unsigned)w->deps->settings->threads;
    int r;
    if (threads > 1) {
        r = pool_create(&w->pool, &w->conns, &w->loop, threads, w->deps->app, w->slot);
        if (r < 0) {
            log_error("Cannot start %u threads: %s (see ulimit -u and ulimit -v)", threads, strerror(-r));
        } else if (pool_threads(w->pool) < threads) {
            log_warning("Only %u of %u threads can be started (see ulimit -u and ulimit -v)", pool_threads(w->pool),
                        threads);
        }
        return r;
    }
    r = standby_create(&w->standby, &w->loop, &STANDBY_EVENTS, w);
    if (r == -EAGAIN) {
        log_warning("Cannot start the standby thread: %s (see ulimit -u); the network waits while the application "
                    "computes",
                    strerror(-r));
        return 0;
    }
    if (r < 0) {
        log_error("Cannot start the standby thread: %s", strerror(-r));
        return r;
    }
    w->executor.standby = w->standby;
    w->executor.conns = &w->conns;
    return 0;
}

static int set_up_http(struct worker *w, unsigned age)
{
    const struct worker_deps *deps = w->deps;
    const struct settings *s = deps->settings;
    int r = http_init(&w->http, s, w->pool ? pool_executor(w->pool) : &w->executor.base, w->slot, age);
    w->http.statsd = deps->statsd;
    w->http.own.scoreboard = deps->scoreboard;
    w->http.own.listeners = deps->listeners;
    if (r == 0 && deps->access_syslog) {
        r = http_log_to_syslog(&w->http, s, deps->access_syslog);
    }
    if (r < 0) {
        log_error("Cannot start to serve: %s", strerror(-r));
    }
    return r;
}

static int set_up_connections(struct worker *w)
{
    const struct settings *s = w->deps->settings;
    const struct conn_limits limits = {.max = descriptors_for_connections((size_t)s->worker_connections),
                                       .handshake_ms = (uint64_t)s->handshake_timeout * 1000,
                                       .linger_ms = (uint64_t)s->linger_timeout * 1000,
                                       .send_rate = s->min_send_rate};
    int r = conns_init(&w->conns, &w->loop, http_protocol(), &w->http, &limits);
    r = r == 0 ? proxy_init(&w->proxy, s) : r;
    w->conns.proxy = w->proxy.v1 || w->proxy.v2 ? &w->proxy : NULL;
    w->conns.on_room = on_room;
    w->conns.on_room_arg = w;
    return r;
}

static int start_reloader(struct worker *w)
{
    const struct reloader_deps deps = {
        .hooks = w->deps->hooks,
        .scoreboard = w->deps->scoreboard,
        .slot = w->slot,
        .master = w->master_pid,
        .poll = strcmp(w->deps->settings->reload_engine, "poll") == 0,
    };
    log_warning("Reloader is on. Use in development only!");
    return reloader_create(&w->reloader, &w->loop, &deps);
}

static int start_handles(struct worker *w, int master_fd)
{
    uv_timer_init(&w->loop, &w->log_due);
    uv_timer_init(&w->loop, &w->aside);
    w->aside.data = w;
    const struct settings *s = w->deps->settings;
    size_t calls = w->pool ? pool_threads(w->pool) : 1;
    int r = overdue_init(&w->overdue, &w->loop, (uint64_t)s->timeout * 1000000, calls, &OVERDUE_EVENTS, w);
    if (r < 0) {
        return r;
    }
    uv_signal_init(&w->loop, &w->reopen);
    w->reopen.data = w;
    r = uv_signal_start(&w->reopen, on_reopen, SIGUSR1);
    r = r == 0 ? leaving_init(w, master_fd) : r;
    if (r == 0 && s->reload) {
        r = start_reloader(w);
    }
    return r < 0 ? r : doors_open(&w->doors, &w->loop, w->deps->listeners, &DOORS_EVENTS, w);
}

/* All up to the first connection. WORKER_OK or the exit status; destroy is due in both cases. */
static int set_up(struct worker *w, const struct seat *seat)
{
    int r = start_threads(w);
    if (r < 0) {
        return r == -EAGAIN || r == -ENOMEM ? WORKER_SHORT : WORKER_BOOT_ERROR;
    }
    if (set_up_http(w, seat->age) < 0) {
        return WORKER_BOOT_ERROR;
    }
    r = set_up_connections(w);
    r = r == 0 ? start_handles(w, seat->master_fd) : r;
    if (r < 0) {
        log_error("Cannot start to serve: %s", strerror(-r));
        return WORKER_BOOT_ERROR;
    }
    return WORKER_OK;
}

/* Until told to stop. */
static void serve(struct worker *w)
{
    leaving_obey(w);
    tell_master(w, SLOT_READY);
    while (!leaving_is_done(w)) {
        turn(w);
    }
    atomic_store(&w->slot->state, SLOT_DRAINING); /* also one that hung: what did not come back has done so */
    workersignals_stop(SIG_IGN);                  /* we are on our way */
    sched_yield(); /* the end takes time, and whoever restarts us looks for the others' titles, too */
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* Ends the pool's threads. If some do not come back from the application, the process ends here, as a kill by the
 * master would end it: everything that is about to be freed may still be in their hands. */
static void stop_pool(struct worker *w)
{
    inline_detach(&w->executor);
    if (!pool_stop(w->pool)) {
        log_warning("Leaving while the application is still computing (pid: %ld)", (long)getpid());
        inline_attach(&w->executor);
        w->deps->hooks->worker_exit(w->deps->hooks);
        log_info("Worker exiting (pid: %ld)", (long)getpid());
        _exit(WORKER_OK);
    }
}

static void destroy(struct worker *w)
{
    if (w->pool) {
        stop_pool(w);
    }
    standby_stop(w->standby);
    uv_walk(&w->loop, close_handle, NULL);
    while (uv_run(&w->loop, UV_RUN_DEFAULT) != 0) {
    }
    conns_finish(&w->conns);
    proxy_finish(&w->proxy);
    http_finish(&w->http);
    pool_destroy(w->pool);
    standby_destroy(w->standby);
    inline_attach(&w->executor); /* the caller goes on with Python */
    uv_loop_close(&w->loop);
    overdue_finish(&w->overdue);
    reloader_destroy(w->reloader);
    doors_destroy(w->doors);
    free(w);
}

int worker_run(const struct seat *seat, const struct worker_deps *deps)
{
    struct worker *w = create(seat, deps);
    if (!w) {
        return WORKER_BOOT_ERROR;
    }
    int status = set_up(w, seat);
    if (status == WORKER_OK) {
        serve(w);
    }
    destroy(w);
    return status;
}

/* worker.c - one worker: loop, listeners, executor; drains and leaves. */
#include "server/process/worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/base/sink.h"
#include "server/config/settings.h"
#include "server/exec/inline.h"
#include "server/http/http.h"
#include "server/net/conn.h"
#include "server/net/listener.h"
#include "server/process/daemon.h"
#include "server/process/hooks.h"

struct door { /* a listener as this worker watches it */
    uv_poll_t poll;
    struct worker *worker;
    const struct listener *listener;
};

enum worker_state { SERVING, DRAINING, QUITTING };

static const int SIGNALS[] = {SIGTERM, SIGINT, SIGQUIT, SIGUSR1};
#define N_SIGNALS (sizeof(SIGNALS) / sizeof(SIGNALS[0]))

struct worker {
    const struct worker_deps *deps;
    struct slot *slot;
    int ready_fd; /* borrowed from the seat */
    uv_loop_t loop;
    struct inline_executor executor;
    struct http http;
    struct conns conns;
    struct door *doors; /* owned; until the loop is closed, since libuv holds them */
    size_t n_doors;
    uv_poll_t master; /* readable: the master is gone */
    uv_signal_t signals[N_SIGNALS];
    uv_timer_t patience;   /* graceful_timeout */
    uint64_t max_requests; /* 0: no limit */
    bool paused;           /* accepting waits for room */
    enum worker_state state;
};

void worker_prepare(const struct seat *seat)
{
    (void)seat;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, standard = {.sa_handler = SIG_DFL};
    static const int TO_DEFAULT[] = {SIGTERM, SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2,
                                     SIGTTIN, SIGTTOU, SIGCHLD, SIGALRM, SIGABRT};
    static const int TO_IGNORE[] = {SIGHUP, SIGPIPE, SIGWINCH};
    for (size_t i = 0; i < sizeof(TO_DEFAULT) / sizeof(TO_DEFAULT[0]); i++) {
        sigaction(TO_DEFAULT[i], &standard, NULL);
    }
    /* HUP goes to a whole group when a terminal closes: only the master acts on it. */
    for (size_t i = 0; i < sizeof(TO_IGNORE) / sizeof(TO_IGNORE[0]); i++) {
        sigaction(TO_IGNORE[i], &ignore, NULL);
    }
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Accepting */

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

static void describe_peer(struct peer *peer, const union address *from, const struct listener *l)
{
    *peer = (struct peer){.tls = l->tls, .server_addr = l->address, .server_port = l->port};
    if (from->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &from->v4.sin_addr, peer->addr, sizeof(peer->addr));
        peer->port = ntohs(from->v4.sin_port);
    } else if (from->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &from->v6.sin6_addr, peer->addr, sizeof(peer->addr));
        peer->port = ntohs(from->v6.sin6_port);
    }
}

/* Accepts one connection. 0 or -errno: -EAGAIN when none is waiting. */
static int accept_one(struct worker *w, const struct listener *l)
{
    union address from = {0};
    socklen_t len = sizeof(from);
    int fd = accept4(l->fd, &from.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    struct peer peer;
    describe_peer(&peer, &from, l);
    return conn_open(&w->conns, fd, l->kind == LISTENER_UNIX, &peer, l->tls ? w->deps->tls : NULL);
}

static void pause_accepting(struct worker *w)
{
    w->paused = true;
    conns_watch(&w->conns);
    for (size_t i = 0; i < w->n_doors; i++) {
        uv_poll_stop(&w->doors[i].poll);
    }
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    const struct door *door = poll->data;
    struct worker *w = door->worker;

    if (w->conns.count >= w->conns.limits.max && !conns_shed(&w->conns)) {
        pause_accepting(w);
        return;
    }
    /* One a turn: others that wait go to whichever worker turns first. */
    int r = status < 0 ? status : accept_one(w, door->listener);
    if (r == -EMFILE || r == -ENFILE || r == -ENOBUFS || r == -ENOMEM) {
        if (!conns_shed(&w->conns)) {
            log_warning("Cannot accept connections at the moment: %s; see ulimit -n and --worker-connections",
                        strerror(-r));
            pause_accepting(w);
        }
    }
}

static int open_doors(struct worker *w)
{
    for (size_t i = 0; i < w->n_doors; i++) {
        int r = uv_poll_start(&w->doors[i].poll, UV_READABLE, on_acceptable);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static void on_room(void *arg)
{
    struct worker *w = arg;
    if (w->paused && w->state == SERVING && w->conns.count < w->conns.limits.max) {
        w->paused = false;
        open_doors(w);
    }
}

/* Leaving */

/* Takes what stands in the queues of the listeners, then gives them up. First of all the title changes: a script that
 * looks for this server by its path may start another one as soon as it does not find us. */
static void close_doors(struct worker *w)
{
    title_set("cwsgi: stopping");
    for (size_t i = 0; i < w->n_doors; i++) {
        uv_close((uv_handle_t *)&w->doors[i].poll, NULL);
        while (accept_one(w, w->doors[i].listener) == 0) {
        }
    }
}

static void quit(struct worker *w)
{
    if (w->state == SERVING) {
        close_doors(w);
    }
    w->state = QUITTING;
    conns_close_all(&w->conns);
}

static void on_patience_lost(uv_timer_t *timer)
{
    quit(timer->data);
}

static void drain(struct worker *w)
{
    if (w->state != SERVING) {
        return;
    }
    w->state = DRAINING;
    atomic_store(&w->slot->state, SLOT_DRAINING);
    close_doors(w);
    conns_drain(&w->conns);
    uv_timer_start(&w->patience, on_patience_lost, (uint64_t)w->deps->settings->graceful_timeout * 1000, 0);
}

static bool is_finished(const struct worker *w)
{
    return w->state != SERVING && w->conns.count == 0 && !inline_has_work(&w->executor);
}

static void reopen_logs(struct worker *w)
{
    int r = log_reopen();
    if (r == 0 && w->http.sink) {
        r = sink_reopen(w->http.sink);
    }
    if (r < 0) {
        log_error("Cannot reopen the logs: %s; the old files stay in use", strerror(-r));
    }
    if (w->deps->settings->capture_output) {
        stdio_to_log();
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct worker *w = handle->data;
    switch (number) {
    case SIGTERM:
        drain(w);
        break;
    case SIGUSR1:
        reopen_logs(w);
        break;
    default:
        inline_attach(&w->executor);
        w->deps->hooks->worker_int(w->deps->hooks);
        quit(w);
        break;
    }
}

static void on_master_gone(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct worker *w = poll->data;
    uv_poll_stop(poll);
    log_error("The master is gone: this worker leaves");
    quit(w);
}

/* Starting */

static int start_handles(struct worker *w, const struct seat *seat)
{
    for (size_t i = 0; i < N_SIGNALS; i++) {
        uv_signal_init(&w->loop, &w->signals[i]);
        w->signals[i].data = w;
        int r = uv_signal_start(&w->signals[i], on_signal, SIGNALS[i]);
        if (r < 0) {
            return r;
        }
    }
    uv_timer_init(&w->loop, &w->patience);
    w->patience.data = w;

    int r = uv_poll_init(&w->loop, &w->master, seat->master_fd);
    if (r < 0) {
        return r;
    }
    w->master.data = w;
    r = uv_poll_start(&w->master, UV_READABLE | UV_DISCONNECT, on_master_gone);
    if (r < 0) {
        return r;
    }

    const struct listeners *ls = w->deps->listeners;
    w->doors = calloc(ls->n, sizeof(*w->doors));
    if (!w->doors) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < ls->n; i++) {
        struct door *door = &w->doors[i];
        r = uv_poll_init(&w->loop, &door->poll, ls->list[i].fd);
        if (r < 0) {
            return r;
        }
        *door = (struct door){.poll = door->poll, .worker = w, .listener = &ls->list[i]};
        door->poll.data = door;
        w->n_doors++;
    }
    return open_doors(w);
}

static uint64_t random_below(uint64_t limit)
{
    uint64_t n = 0;
    if (limit == 0 || getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n)) {
        return 0;
    }
    return n % limit;
}

static void tell_master(const struct worker *w, enum slot_state state)
{
    atomic_store(&w->slot->state, state);
    ssize_t r;
    do {
        r = write(w->ready_fd, "r", 1);
    } while (r < 0 && errno == EINTR);
    if (r < 0 && errno != EAGAIN) { /* EAGAIN: the pipe is full of news already */
        log_error("Cannot reach the master: %s", strerror(errno));
    }
}

static void ask_to_retire(struct worker *w)
{
    if (w->max_requests && w->http.served >= w->max_requests) {
        w->max_requests = 0;
        log_info("Autorestarting worker after %llu requests", (unsigned long long)w->http.served);
        tell_master(w, SLOT_WANTS_RETIRE);
    }
}

/* One turn: the network, then the application for what has become ready, then the log. */
static void turn(struct worker *w)
{
    bool work = inline_has_work(&w->executor);
    if (!work) {
        inline_detach(&w->executor); /* the thread is about to wait: others may run Python meanwhile */
    }
    uv_run(&w->loop, work ? UV_RUN_NOWAIT : UV_RUN_ONCE);
    inline_run(&w->executor);
    if (w->http.sink) {
        sink_flush(w->http.sink);
    }
    atomic_store_explicit(&w->slot->connections, w->conns.count, memory_order_relaxed);
    ask_to_retire(w);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

int worker_run(const struct seat *seat, const struct worker_deps *deps)
{
    const struct settings *s = deps->settings;
    struct worker *w = calloc(1, sizeof(*w));
    if (!w) {
        return WORKER_BOOT_ERROR;
    }
    w->deps = deps;
    w->slot = scoreboard_slot(deps->scoreboard, seat->slot);
    w->ready_fd = seat->ready_fd;
    w->max_requests =
        s->max_requests ? (uint64_t)s->max_requests + random_below((uint64_t)s->max_requests_jitter + 1) : 0;

    int status = WORKER_BOOT_ERROR;
    int r = uv_loop_init(&w->loop);
    if (r < 0) {
        log_error("Cannot start the event loop: %s", strerror(-r));
        free(w);
        return status;
    }
    inline_init(&w->executor, deps->app, w->slot);
    r = http_init(&w->http, s, &w->executor.base, w->slot);
    if (r < 0) {
        log_error("Cannot open the access log %s: %s", s->accesslog, strerror(-r));
        goto no_http;
    }
    const struct conn_limits limits = {.max = (size_t)s->worker_connections,
                                       .handshake_ms = (uint64_t)s->handshake_timeout * 1000,
                                       .linger_ms = (uint64_t)s->linger_timeout * 1000,
                                       .send_rate = s->min_send_rate};
    r = conns_init(&w->conns, &w->loop, http_protocol(), &w->http, &limits);
    if (r == 0) {
        w->conns.on_room = on_room;
        w->conns.on_room_arg = w;
        r = start_handles(w, seat);
    }
    if (r < 0) {
        log_error("Cannot start to serve: %s", strerror(-r));
    } else {
        tell_master(w, SLOT_READY);
        while (!is_finished(w)) {
            turn(w);
        }
        status = WORKER_OK;
    }

    uv_walk(&w->loop, close_handle, NULL);
    while (uv_run(&w->loop, UV_RUN_DEFAULT) != 0) {
    }
    conns_finish(&w->conns);
    http_finish(&w->http);
no_http:
    inline_attach(&w->executor); /* the caller goes on with Python */
    uv_loop_close(&w->loop);
    free(w->doors);
    free(w);
    return status;
}

/* worker_inside.h - what the files that make up a worker share: worker.c (its life, the loop) and leaving.c (how it is
 * told to stop). For nobody else. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "server/exec/inline.h"
#include "server/http/http.h"
#include "server/net/conns.h"
#include "server/net/proxy.h"
#include "server/process/overdue.h"

struct doors;
struct pool;
struct reloader;
struct slot;
struct standby;
struct worker_deps;

enum worker_state {
    SERVING,
    DRAINING,
    QUITTING,
    LEAVING, /* whatever still runs */
};

struct worker {
    const struct worker_deps *deps;
    struct slot *slot;
    int ready_fd; /* borrowed from the seat */
    uv_loop_t loop;
    struct inline_executor executor; /* knows who holds the interpreter, also when the pool runs the application */
    struct pool *pool;               /* owned; NULL: one thread */
    struct standby *standby;         /* owned; NULL: with the pool */
    struct http http;
    struct conns conns;
    struct proxy proxy;
    struct doors *doors;       /* owned */
    struct reloader *reloader; /* owned; NULL: no --reload */
    uv_poll_t master;          /* readable: the master is gone */
    uv_signal_t reopen;        /* SIGUSR1 */
    uv_async_t told;           /* the signal handler has something to say */
    atomic_int order;          /* SIGTERM, or SIGQUIT for it and SIGINT: from the signal handler */
    uv_timer_t patience;       /* graceful_timeout */
    struct overdue overdue;
    uv_timer_t log_due;      /* runs while lines of the access log wait to be written */
    uint64_t log_written_ms; /* on the loop's clock */
    uv_timer_t aside;        /* runs while new connections are left to others */
    bool interrupted;        /* the hook worker_int is due, on the thread that runs Python */
    bool hung;               /* a call of the application takes too long: the master replaces and ends us */
    bool hung_only;          /* nothing else is left */
    pthread_t thread;        /* that runs worker_run */
    pid_t master_pid;
    uint64_t max_requests; /* 0: no limit */
    enum worker_state state;
};

/* master.h - keeps N workers alive: spawn, watch, retire; signals.
 * A plain poll loop, no libuv. A forked worker (crew.h) returns from master_run, up to main, which then runs it.
 *
 * Who has served, goes on: before any worker was ever ready, a worker that fails to boot ends the server with that
 * worker's exit status; afterwards (a reload included) it is tried again, later and later, and only a signal ends the
 * server. Replacement comes first, retirement second: a worker that is to go is told so when a new one is ready.
 *
 *   TERM         graceful stop: listeners are closed at once, workers finish within graceful_timeout
 *   INT, QUIT    quick stop; also hastens a graceful one, as a second TERM does
 *   HUP          reload (reexec.h); after WINCH: the workers again
 *   USR2         a second master beside this one (upgrade.h)
 *   USR1         reopen the logs, workers too
 *   URG          the Python stacks of all workers into the server log
 *   TTIN, TTOU   one worker more or less, at least one
 *   WINCH        stop the workers, only as a daemon */
#pragma once

#include <stdbool.h>

#include "server/process/worker.h"

struct control;
struct handover;
struct launch;
struct master;
struct renewal;
struct stackdump;
struct tickets;
struct statsd;

enum master_outcome {
    MASTER_EXIT,   /* told to stop, or it could not start: leave with *status */
    MASTER_REEXEC, /* the new release is good: execute ourselves in place (reexec.h). Signals are blocked; when that
                    * failed, call master_run again: it unblocks them and goes on as before. After USR2 we are a child
                    * that is to become the second master (handover.newborn), or to end */
    MASTER_WORKER, /* we are a new worker: *seat says which. Signals are blocked until workersignals_reset */
};

struct master_deps { /* all borrowed, outlive the master */
    const struct settings *settings;
    const struct launch *launch;
    struct listeners *listeners; /* the master closes and unlinks them when it stops */
    struct scoreboard *scoreboard;
    struct hooks *hooks;
    struct statsd *statsd;       /* NULL: none */
    struct renewal *renewal;     /* NULL: no TLS */
    struct tickets *tickets;     /* the same */
    struct pidfile *pidfile;     /* NULL: none */
    struct control *control;     /* NULL: none */
    struct stackdump *stackdump; /* NULL: none */
    const char *app_name;
    bool by_ctl;               /* when the server is up, its starter reads a line about it */
    int *report_fd;            /* a daemon's (daemon.h): told when the workers are up */
    struct handover *handover; /* what the image before us left behind: its pipes are taken over; NULL: first start */
};

int master_create(struct master **out, const struct master_deps *deps); /* 0 or -errno */
void master_destroy(struct master *m);                                  /* NULL is fine */

/* on_starting and when_ready are called again after a reload, since the interpreter is a new one. *status: 0, 1 when a
 * hook raised, or an enum worker_exit. */
enum master_outcome master_run(struct master *m, int *status, struct seat *seat);

/* After MASTER_REEXEC: what the next image must know of workers and pipes; all is borrowed but h->workers. 0 or
 * -ENOMEM. */
int master_hand_over(const struct master *m, struct handover *h);

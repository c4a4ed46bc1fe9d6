/* worker.h - one worker: loop, listeners, executor; drains and leaves.
 * Runs on the main thread of a forked process until told to stop:
 *   SIGTERM: graceful: no new connections, what was accepted or queued is answered (within graceful_timeout), then exit
 *   SIGINT, SIGQUIT: quick: leaves at the next turn of the loop; calls that run on other threads get a moment to end
 *   SIGUSR1: reopens the logs      SIGHUP: nothing
 *   the master is gone (EOF on master_fd, PR_SET_PDEATHSIG): as SIGQUIT */
#pragma once

struct app;
struct hooks;
struct listeners;
struct renewal;
struct scoreboard;
struct settings;
struct statsd;
struct syslog;

/* A place in the process table, as the master hands it to its child. */
struct seat {
    unsigned slot; /* in the scoreboard */
    unsigned age;  /* counts the workers that this server has had, from 1 */
    int master_fd; /* read end of a pipe whose write end only the master has: EOF when it is gone. Owned */
    int ready_fd;  /* write end of a pipe to the master: one byte is written once we accept. Owned */
};

enum worker_exit { /* exit status of a worker process, as gunicorn's */
                   WORKER_OK = 0,
                   WORKER_BOOT_ERROR = 3, /* it failed before it was ready */
                   WORKER_APP_ERROR = 4,  /* the application is not there or not callable */
                   WORKER_SHORT = 5,      /* no threads or no memory could be had: later perhaps */
};

struct worker_deps { /* all borrowed, outlive the call */
    const struct settings *settings;
    struct listeners *listeners;
    struct renewal *renewal; /* NULL: plain */
    struct scoreboard *scoreboard;
    struct syslog *access_syslog; /* NULL: the access log does not go there */
    struct statsd *statsd;        /* NULL: none */
    struct app *app;
    struct hooks *hooks;
};

/* Serves until stopped; marks its slot READY and writes to ready_fd once it accepts. Returns the exit status. */
int worker_run(const struct seat *seat, const struct worker_deps *deps);

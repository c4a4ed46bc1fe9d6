/* master.c - keeps N workers alive: spawn, watch, retire. */
#include "server/process/master.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/net/listener.h"
#include "server/process/children.h"
#include "server/process/daemon.h"
#include "server/process/hooks.h"
#include "server/process/metrics.h"
#include "server/process/news.h"
#include "server/process/reexec.h"
#include "server/process/signals.h"
#include "server/process/systemd.h"

#define SECOND_US UINT64_C(1000000)
#define BACKOFF_MIN_US (SECOND_US / 10)
#define BACKOFF_MAX_US (30 * SECOND_US)
#define STACKS_US (SECOND_US / 10)      /* for a worker that has to go to say where it stands */
#define ABORT_US SECOND_US              /* from SIGABRT, or from a quick stop, to SIGKILL */
#define GRACE_MARGIN_US (SECOND_US / 2) /* a worker that gives up by itself at graceful_timeout may still tidy up */
#define GIVE_UP_US (5 * SECOND_US)      /* from SIGKILL until a worker that even this does not end is left behind */
#define TRIAL_MIN_SECONDS 30
#define SCOUT_US SECOND_US

enum stage { NEW, SERVING, STOPPING, STOPPING_QUICKLY };

struct master {
    struct master_deps deps;
    enum stage stage;
    int wanted;   /* workers */
    bool served;  /* a worker was ready once, in this image or an earlier one */
    unsigned age; /* of the youngest worker */
    struct children children;
    struct metrics metrics;

    int wake_fd[2];   /* owned: bytes from ready workers and from the signal handler */
    int master_fd[2]; /* owned: tells workers of our end; the write end is only ours */

    uint64_t spawn_at_us; /* no worker is started before: backoff */
    uint64_t backoff_us;  /* the next wait */
    uint64_t scout_us;    /* until then the very first worker starts alone */

    pid_t trial;           /* of a reload; 0: none */
    uint64_t trial_end_us; /* when it is killed */
    bool trial_good;       /* it ended well: the next image may come */
    bool up;               /* systemd knows that this image's workers serve */
    bool upgrading;        /* it was USR2 that asked for it: another hook */

    int status;          /* to leave with */
    const char *reason;  /* why, when not 0 */
    uint64_t give_up_us; /* 0 until we stop */

    uint64_t watchdog_us, alive_us; /* how often systemd is told that we live, 0: never; when it is next */
};

static size_t fresh(const struct master *m) /* workers that are to stay */
{
    return children_count(&m->children, CHILD_BOOTING) + children_count(&m->children, CHILD_READY);
}

static uint64_t timeout_us(const struct master *m)
{
    return (uint64_t)m->deps.settings->timeout * SECOND_US;
}

/* --- Stopping ------------------------------------------------------------------------------------------------------
 */

static uint64_t graceful_us(const struct master *m)
{
    return (uint64_t)m->deps.settings->graceful_timeout * SECOND_US + GRACE_MARGIN_US;
}

static void retire(struct master *m, struct child *c)
{
    child_move(c, CHILD_LEAVING);
    c->kill_at_us = clock_mono_us() + graceful_us(m);
    child_signal(c, SIGTERM);
}

static void kill_trial(struct master *m)
{
    if (m->trial > 0) {
        kill(m->trial, SIGKILL); /* reaped as a foreign child */
        m->trial = 0;
    }
}

/* Begins to stop, or hastens it. Title and port first: who looks for us may start another server at once. */
static void stop(struct master *m, bool quickly)
{
    if (m->stage < STOPPING) {
        title_hide();
        listeners_unlink(m->deps.listeners);
        listeners_close(m->deps.listeners);
        systemd_notify("STOPPING=1\nSTATUS=Stopping");
        kill_trial(m);
    }
    uint64_t kill_at_us = clock_mono_us() + (quickly ? ABORT_US : graceful_us(m));
    m->stage = quickly ? STOPPING_QUICKLY : STOPPING;
    m->give_up_us = kill_at_us + GIVE_UP_US;
    for (size_t i = 0; i < m->children.n; i++) {
        struct child *c = &m->children.list[i];
        if (c->phase <= CHILD_LEAVING) {
            child_move(c, CHILD_LEAVING);
            c->kill_at_us = kill_at_us;
            child_signal(c, quickly ? SIGQUIT : SIGTERM);
        }
    }
}

/* The server cannot go up. */
static void fail(struct master *m, int status, const char *reason)
{
    if (m->stage < STOPPING) {
        m->status = status;
        m->reason = reason;
        stop(m, true);
    }
}

/* --- Starting workers ----------------------------------------------------------------------------------------------
 */

/* There is no way to more workers now: later again, and later each time. Several failures of one round count once. */
static void back_off(struct master *m, const char *what)
{
    uint64_t now = clock_mono_us();
    if (now < m->spawn_at_us) {
        return;
    }
    m->spawn_at_us = now + m->backoff_us;
    log_warning("%s; trying again in %.1f s", what, (double)m->backoff_us / (double)SECOND_US);
    m->backoff_us = m->backoff_us * 2 < BACKOFF_MAX_US ? m->backoff_us * 2 : BACKOFF_MAX_US;
}

/* A worker ended before it was ready: by itself with `status`, or by a signal (0), which says nothing of the
 * application, so that another try may well succeed. */
static void boot_failed(struct master *m, int status)
{
    if (m->stage >= STOPPING) {
        return;
    }
    if (m->served || status == 0) {
        back_off(m, "A new worker failed to boot");
    } else if (status == WORKER_APP_ERROR) {
        fail(m, WORKER_APP_ERROR, "App failed to load.");
    } else {
        fail(m, WORKER_BOOT_ERROR, "Worker failed to boot.");
    }
}

/* In the child: only what a worker needs stays open. */
static void become_worker(struct master *m, unsigned slot, struct seat *seat)
{
    signals_close();
    close(m->master_fd[1]);
    close(m->wake_fd[0]);
    *seat = (struct seat){.slot = slot, .age = m->age, .master_fd = m->master_fd[0], .ready_fd = m->wake_fd[1]};
    m->master_fd[0] = m->master_fd[1] = m->wake_fd[0] = m->wake_fd[1] = -1;
    if (*m->deps.report_fd >= 0) {
        close(*m->deps.report_fd);
        *m->deps.report_fd = -1;
    }
    atomic_store(&scoreboard_slot(m->deps.scoreboard, slot)->pid, getpid());
}

/* 0: started; 1: we are the worker; -errno: it could not be started; -ECANCELED: pre_fork raised. */
static int spawn(struct master *m, struct seat *seat)
{
    struct hooks *hooks = m->deps.hooks;
    unsigned slot;
    int r = children_reserve(&m->children, &slot);
    if (r < 0) {
        return r;
    }
    m->age++;
    if (hooks->pre_fork(hooks, m->age) < 0) {
        return -ECANCELED;
    }

    sigset_t before;
    signals_block(&before); /* the child must not run our handlers */
    hooks->before_fork(hooks);
    atomic_store(&scoreboard_slot(m->deps.scoreboard, slot)->state, SLOT_BOOTING);
    pid_t pid = fork();
    if (pid == 0) {
        hooks->after_fork_child(hooks);
        become_worker(m, slot, seat);
        hooks->forked(hooks, getpid());
        return 1;
    }
    r = pid < 0 ? -errno : 0;
    hooks->after_fork_parent(hooks);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r < 0) {
        atomic_store(&scoreboard_slot(m->deps.scoreboard, slot)->state, SLOT_FREE);
        return r;
    }
    hooks->forked(hooks, pid);
    children_add(&m->children, &(struct child){.pid = pid, .slot = slot, .age = m->age, .spawned_us = clock_mono_us()});
    return 0;
}

static void spawn_failed(struct master *m, int r)
{
    char text[128];
    if (r == -ECANCELED && !m->served) {
        fail(m, 1, "The hook pre_fork failed.");
        return;
    }
    snprintf(text, sizeof(text), "Can't start a worker: %s",
             r == -ECANCELED ? "the hook pre_fork failed" : strerror(-r));
    back_off(m, text);
}

static void retire_surplus(struct master *m)
{
    struct children *cs = &m->children;
    size_t wanted = (size_t)m->wanted;
    size_t ready = children_count(cs, CHILD_READY), stale = children_count(cs, CHILD_STALE);

    /* Each new one that is ready lets an old one go. */
    for (; stale > 0 && ready > 0 && ready + stale > wanted; stale--) {
        retire(m, children_oldest(cs, CHILD_STALE));
    }
    /* TTOU: the oldest goes, but not one that serves for the sake of one that does not yet. */
    while (fresh(m) > wanted) {
        bool serves = children_count(cs, CHILD_READY) > wanted;
        retire(m, children_oldest(cs, serves ? CHILD_READY : CHILD_BOOTING));
    }
}

/* When the next worker may be started. The first one has the processors for itself for a moment: the first answer comes
 * sooner, and an application that does not load shows one traceback and not one a worker. */
static uint64_t next_spawn_us(const struct master *m)
{
    bool scouting = !m->served && fresh(m) > 0;
    return scouting && m->scout_us > m->spawn_at_us ? m->scout_us : m->spawn_at_us;
}

/* Makes the workers as many as they should be. True in a new worker. */
static bool balance(struct master *m, struct seat *seat)
{
    while (m->stage == SERVING && fresh(m) < (size_t)m->wanted && clock_mono_us() >= next_spawn_us(m)) {
        int r = spawn(m, seat);
        if (r > 0) {
            return true;
        }
        if (r < 0) {
            spawn_failed(m, r);
        }
    }
    if (m->stage == SERVING) {
        retire_surplus(m);
    }
    return false;
}

/* --- What workers say, and their ends ------------------------------------------------------------------------------
 */

static void read_slot(struct master *m, struct child *c)
{
    if (children_read_slot(&m->children, c)) {
        m->served = true;
        m->backoff_us = BACKOFF_MIN_US;
        m->spawn_at_us = 0;
        if (c->reopen) {
            child_signal(c, SIGUSR1);
        }
    }
}

static void tell_up(struct master *m)
{
    m->up = true;
    systemd_notify("READY=1\nMAINPID=%ld\nSTATUS=Serving, %d workers", (long)getpid(), m->wanted);
}

static void read_slots(struct master *m)
{
    for (size_t i = 0; i < m->children.n; i++) {
        read_slot(m, &m->children.list[i]);
    }
    bool all_ready = m->stage == SERVING && children_count(&m->children, CHILD_READY) >= (size_t)m->wanted;
    if (all_ready && !m->up) {
        tell_up(m);
    }
    if (*m->deps.report_fd >= 0 && all_ready) {
        if (!m->deps.settings->enable_stdio_inheritance) {
            stdio_silence();
        }
        daemon_report(m->deps.report_fd, 0);
    }
}

static void child_ended(struct master *m, struct child *in_table, int status)
{
    read_slot(m, in_table); /* it may have been ready for a moment */
    struct child c = *in_table;
    children_remove(&m->children, in_table);
    child_log_end(&c, status);
    if (c.phase == CHILD_BOOTING) {
        boot_failed(m, WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    }
    m->deps.hooks->child_exit(m->deps.hooks, c.pid, c.age);
}

static void trial_ended(struct master *m, int status)
{
    m->trial = 0;
    m->trial_good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (m->trial_good) {
        return;
    }
    tell_up(m); /* as before */
    if (WIFSIGNALED(status)) {
        log_error("Reload refused: the trial of the new release was ended by signal %d; the old release keeps serving",
                  WTERMSIG(status));
    } else {
        log_error("Reload refused: the new release does not load (exit status %d); the old release keeps serving",
                  WEXITSTATUS(status));
    }
}

/* All children, also foreign ones, whose parent we are as pid 1 of a container; only our own are judged. */
static void reap(struct master *m)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *c = children_find(&m->children, pid);
        if (c) {
            child_ended(m, c, status);
        } else if (pid == m->trial) {
            trial_ended(m, status);
        }
    }
}

/* --- Orders --------------------------------------------------------------------------------------------------------
 */

static void reload(struct master *m)
{
    int seconds = m->deps.settings->timeout;
    systemd_notify_reloading();
    kill_trial(m); /* what it tries may have changed since */
    m->trial_good = false;
    pid_t pid = trial_start(m->deps.launch);
    if (pid < 0) {
        log_error("Reload refused: can't start the trial: %s; the old release keeps serving", strerror(-pid));
        tell_up(m);
        return;
    }
    if (seconds < TRIAL_MIN_SECONDS) {
        seconds = TRIAL_MIN_SECONDS;
    }
    m->trial = pid;
    m->trial_end_us = clock_mono_us() + (uint64_t)seconds * SECOND_US;
}

static void reopen_logs(const struct master *m)
{
    struct buf error = {0};
    if (user_make_logs(m->deps.settings, &error) < 0) {
        const char *text = buf_cstr(&error);
        log_error("%s", text ? text : "Out of memory");
    }
    buf_finish(&error);
    int r = log_reopen();
    if (r < 0) {
        log_error("Can't reopen the log: %s", strerror(-r));
    } else if (m->deps.settings->capture_output) {
        stdio_to_log();
    }
}

static void forward_reopen(struct master *m)
{
    for (size_t i = 0; i < m->children.n; i++) {
        struct child *c = &m->children.list[i];
        if (c->phase == CHILD_BOOTING) {
            c->reopen = true;
        } else {
            child_signal(c, SIGUSR1);
        }
    }
}

static void resize(struct master *m, int wanted)
{
    int before = m->wanted;
    m->wanted = wanted;
    m->deps.hooks->nworkers_changed(m->deps.hooks, wanted, before);
}

static void stop_workers(struct master *m)
{
    if (!m->deps.settings->daemon) {
        log_debug("SIGWINCH ignored. Not daemonized");
        return;
    }
    log_info("graceful stop of workers");
    resize(m, 0);
    for (size_t i = 0; i < m->children.n; i++) {
        if (m->children.list[i].phase < CHILD_LEAVING) {
            retire(m, &m->children.list[i]);
        }
    }
}

static void obey_serving(struct master *m, int sig)
{
    switch (sig) {
    case SIGTERM:
        stop(m, false);
        break;
    case SIGINT:
    case SIGQUIT:
        stop(m, true);
        break;
    case SIGUSR2:
        log_info("USR2 is handled as HUP: a reload executes the new program in place");
        m->upgrading = true;
        reload(m);
        break;
    case SIGHUP:
        log_info("Hang up: Master");
        m->upgrading = false;
        reload(m);
        break;
    case SIGUSR1:
        reopen_logs(m);
        forward_reopen(m);
        break;
    case SIGURG:
        for (size_t i = 0; i < m->children.n; i++) {
            child_signal(&m->children.list[i], SIGURG); /* ignored by those that cannot answer yet */
        }
        break;
    case SIGTTIN:
        resize(m, m->wanted + 1);
        break;
    case SIGTTOU:
        if (m->wanted > 1) {
            resize(m, m->wanted - 1);
        }
        break;
    case SIGWINCH:
        stop_workers(m);
        break;
    }
}

/* While stopping, only haste counts. */
static void obey_stopping(struct master *m, int sig)
{
    bool haste = sig == SIGTERM || sig == SIGINT || sig == SIGQUIT;
    if (haste && m->stage == STOPPING) {
        stop(m, true);
    } else if (sig == SIGUSR1) {
        reopen_logs(m);
    }
}

static void log_signal(int sig)
{
    char name[16];
    snprintf(name, sizeof(name), "%s", sigabbrev_np(sig));
    for (char *c = name; *c; c++) {
        *c = (char)(*c | 0x20); /* to lower case; digits have the bit already */
    }
    log_line(sig == SIGCHLD ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "Handling signal: %s", name);
}

static void take_signals(struct master *m)
{
    int sig;
    while ((sig = signals_take()) != 0) {
        bool stops = sig == SIGTERM || sig == SIGINT || sig == SIGQUIT;
        if (!stops) { /* a stop does not wait for the disk */
            log_signal(sig);
        }
        if (sig == SIGCHLD) {
            reap(m);
        } else if (m->stage == SERVING) {
            obey_serving(m, sig);
        } else {
            obey_stopping(m, sig);
        }
        if (stops) {
            log_signal(sig);
        }
    }
}

/* --- Time ----------------------------------------------------------------------------------------------------------
 */

static void judge_silence(struct master *m, struct child *c, uint64_t now)
{
    uint64_t end = children_silence_end(&m->children, c, timeout_us(m));
    if (end == 0 || now < end) {
        return;
    }
    log_critical("WORKER TIMEOUT (pid:%ld)", (long)c->pid);
    bool booting = c->phase == CHILD_BOOTING;
    child_move(c, CHILD_ABORTED);
    child_signal(c, SIGURG); /* it shows where it stands */
    c->abort_at_us = now + STACKS_US;
    c->kill_at_us = c->abort_at_us + ABORT_US;
    if (booting) {
        boot_failed(m, 0);
    }
}

static void watch(struct master *m)
{
    uint64_t now = clock_mono_us();
    if (m->watchdog_us > 0 && now >= m->alive_us) {
        m->alive_us = now + m->watchdog_us;
        systemd_notify("WATCHDOG=1");
    }
    for (size_t i = 0; i < m->children.n; i++) {
        struct child *c = &m->children.list[i];
        judge_silence(m, c, now);
        if (c->abort_at_us > 0 && now >= c->abort_at_us) {
            c->abort_at_us = 0;
            child_signal(c, SIGABRT);
        }
        if (c->kill_at_us > 0 && now >= c->kill_at_us && c->phase < CHILD_KILLED) {
            child_move(c, CHILD_KILLED);
            child_signal(c, SIGKILL);
        }
    }
    if (m->trial > 0 && now >= m->trial_end_us) {
        log_error("The trial of the new release takes too long");
        kill(m->trial, SIGKILL); /* its end refuses the reload */
        m->trial_end_us = UINT64_MAX;
    }
}

static void earlier(uint64_t *at, uint64_t candidate)
{
    if (candidate > 0 && candidate < *at) {
        *at = candidate;
    }
}

/* When something is due next. A request that begins while we sleep is due `timeout` later at the earliest, so an idle
 * server wakes once in that time. */
static uint64_t next_deadline(const struct master *m, uint64_t now)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < m->children.n; i++) {
        const struct child *c = &m->children.list[i];
        earlier(&at, children_silence_end(&m->children, c, timeout_us(m)));
        earlier(&at, c->abort_at_us);
        earlier(&at, c->phase < CHILD_KILLED ? c->kill_at_us : 0);
        earlier(&at, timeout_us(m) > 0 ? now + timeout_us(m) : 0);
    }
    if (m->stage == SERVING && fresh(m) < (size_t)m->wanted) {
        earlier(&at, next_spawn_us(m));
    }
    earlier(&at, m->trial > 0 ? m->trial_end_us : 0);
    earlier(&at, m->give_up_us);
    earlier(&at, m->watchdog_us > 0 ? m->alive_us : 0);
    earlier(&at, m->stage == SERVING ? metrics_deadline(&m->metrics) : 0);
    return at;
}

static void wait_for_news(struct master *m)
{
    uint64_t now = clock_mono_us(), at = next_deadline(m, now);
    int ms = -1;
    if (at != UINT64_MAX) {
        uint64_t left = at > now ? (at - now + 999) / 1000 : 0;
        ms = left < 3600 * 1000 ? (int)left : 3600 * 1000;
    }
    struct news news;
    news.n = 0;
    news_add(&news, m->wake_fd[0], POLLIN);
    m->deps.hooks->wait_begin(m->deps.hooks);
    int r = poll(news.list, news.n, ms); /* EINTR is news too: the handler has run */
    m->deps.hooks->wait_end(m->deps.hooks);
    if (r > 0 && news.list[0].revents) {
        char drop[256];
        while (read(m->wake_fd[0], drop, sizeof(drop)) == (ssize_t)sizeof(drop)) {
        }
    }
}

/* --- Life ----------------------------------------------------------------------------------------------------------
 */

static int take_over(struct master *m, struct handover *h)
{
    for (int i = 0; i < 2; i++) {
        m->wake_fd[i] = h->wake_fd[i];
        m->master_fd[i] = h->master_fd[i];
        h->wake_fd[i] = h->master_fd[i] = -1;
    }
    m->age = h->age;
    m->served = h->served;
    int r = children_adopt(&m->children, h);
    for (size_t i = 0; r == 0 && i < m->children.n; i++) {
        if (m->children.list[i].phase == CHILD_LEAVING) {
            retire(m, &m->children.list[i]); /* some hear it a second time, which does no harm */
        }
    }
    return r;
}

struct master *master_create(const struct master_deps *deps)
{
    struct master *m = malloc(sizeof(*m));
    if (!m) {
        return NULL;
    }
    *m = (struct master){
        .deps = *deps,
        .children = {.scoreboard = deps->scoreboard},
        .metrics = {.statsd = deps->statsd, .settings = deps->settings},
        .backoff_us = BACKOFF_MIN_US,
        .watchdog_us = systemd_watchdog_us(),
        .wake_fd = {-1, -1},
        .master_fd = {-1, -1},
    };
    int r = 0;
    if (deps->handover) {
        r = take_over(m, deps->handover);
    } else if (pipe2(m->wake_fd, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(m->master_fd, O_CLOEXEC) < 0) {
        r = -errno;
    }
    if (r < 0) {
        master_destroy(m);
        return NULL;
    }
    return m;
}

void master_destroy(struct master *m)
{
    if (!m) {
        return;
    }
    signals_close();
    for (int i = 0; i < 2; i++) {
        if (m->wake_fd[i] >= 0) {
            close(m->wake_fd[i]);
        }
        if (m->master_fd[i] >= 0) {
            close(m->master_fd[i]);
        }
    }
    children_finish(&m->children);
    free(m);
}

static void log_listeners(const struct master *m)
{
    struct buf urls = {0};
    if (listeners_describe(m->deps.listeners, &urls) == 0 && buf_cstr(&urls)) {
        log_info("Listening at: %s (%ld)", urls.data, (long)getpid());
    }
    buf_finish(&urls);
}

/* For hooks: which sockets these are. */
static void show_listeners(const struct master *m)
{
    const struct listeners *ls = m->deps.listeners;
    int *fds = calloc(ls->n + 1, sizeof(*fds));
    for (size_t i = 0; fds && i < ls->n; i++) {
        fds[i] = ls->list[i].fd;
    }
    m->deps.hooks->listening(m->deps.hooks, fds, fds ? ls->n : 0);
    free(fds);
}

/* The lines that scripts wait for, and the hooks in between, in gunicorn's order. 0, or -1 when a hook raised. */
static int announce(struct master *m)
{
    struct hooks *hooks = m->deps.hooks;
    if (!m->deps.handover) {
        log_info("Starting cwsgi %s", CWSGI_VERSION);
    }
    if (hooks->on_starting(hooks) < 0) {
        return -1;
    }
    show_listeners(m);
    log_listeners(m);
    if (!m->deps.handover) {
        log_info("Using worker: %s", m->deps.settings->threads > 1 ? "gthread" : "sync");
    }
    return hooks->when_ready(hooks);
}

static void start(struct master *m)
{
    m->stage = SERVING;
    m->scout_us = clock_mono_us() + SCOUT_US;
    resize(m, m->deps.settings->workers);
    if (announce(m) < 0 && !m->served) {
        fail(m, 1, "A hook failed.");
    }
}

/* The last moment of this image: gunicorn's hook for what the signal stood for there. */
static bool may_go(struct master *m)
{
    struct hooks *hooks = m->deps.hooks;
    if (!m->upgrading) {
        hooks->on_reload(hooks);
    } else if (hooks->pre_exec(hooks) < 0) {
        log_error("Reload refused: the hook pre_exec failed; the old release keeps serving");
        tell_up(m);
        return false;
    }
    return true;
}

static void finish(struct master *m)
{
    enum log_level level = m->status == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
    for (size_t i = 0; i < m->children.n; i++) {
        log_error("Worker (pid:%ld) does not end; it is left behind", (long)m->children.list[i].pid);
    }
    log_line(level, "Shutting down: Master");
    if (m->reason) {
        log_line(level, "Reason: %s", m->reason);
    }
    show_listeners(m); /* there are none any more */
    m->deps.hooks->on_exit(m->deps.hooks);
}

enum master_outcome master_run(struct master *m, int *status, struct seat *seat)
{
    signals_open(m->wake_fd[1]);
    if (m->stage == NEW) {
        start(m);
    } else {
        tell_up(m); /* the next image could not be executed */
    }
    reap(m); /* those that ended while nobody listened */
    for (;;) {
        take_signals(m);
        read_slots(m);
        watch(m);
        if (balance(m, seat)) {
            return MASTER_WORKER;
        }
        metrics_tell(&m->metrics, fresh(m), m->deps.listeners, clock_mono_us());
        if (m->stage >= STOPPING && (m->children.n == 0 || clock_mono_us() >= m->give_up_us)) {
            finish(m);
            *status = m->status;
            return MASTER_EXIT;
        }
        if (m->trial_good && m->stage == SERVING) {
            m->trial_good = false;
            if (may_go(m)) {
                reopen_logs(m);
                signals_suspend();
                return MASTER_REEXEC;
            }
        }
        wait_for_news(m);
    }
}

int master_hand_over(const struct master *m, struct handover *h)
{
    h->age = m->age;
    h->served = m->served;
    for (int i = 0; i < 2; i++) {
        h->wake_fd[i] = m->wake_fd[i];
        h->master_fd[i] = m->master_fd[i];
    }
    return children_hand_over(&m->children, h);
}

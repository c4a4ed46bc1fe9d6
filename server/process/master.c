/* master.c - keeps N workers alive: the loop, what workers say, their time limits, its own life. */
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
#include "server/base/descriptors.h"
#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/net/listener.h"
#include "server/net/tickets.h"
#include "server/process/control.h"
#include "server/process/crew.h"
#include "server/process/daemon.h"
#include "server/process/hooks.h"
#include "server/process/logrotate.h"
#include "server/process/master_inside.h"
#include "server/process/news.h"
#include "server/process/orders.h"
#include "server/process/pidfile.h"
#include "server/process/reexec.h"
#include "server/process/renewal.h"
#include "server/process/signals.h"
#include "server/process/stackdump.h"
#include "server/process/stapler.h"
#include "server/process/systemd.h"
#include "server/process/title.h"

#define STACKS_US (SECOND_US / 10)    /* for a worker that has to go to say where it stands */
#define REPORT_US (3 * SECOND_US / 2) /* for one that says so by itself, and waits for the interpreter to answer */
#define ABORT_US SECOND_US            /* from SIGABRT, or from a quick stop, to SIGKILL */
#define GIVE_UP_US (5 * SECOND_US)    /* from SIGKILL until a worker that even this does not end is left behind */
#define SCOUT_US SECOND_US

static uint64_t timeout_us(const struct master *m)
{
    return (uint64_t)m->deps.settings->timeout * SECOND_US;
}

/* Stopping */

/* Begins to stop, or hastens it. Title and port first: who looks for us may start another server at once. */
void master_stop(struct master *m, bool quickly)
{
    if (m->stage < STOPPING) {
        title_hide();
        pid_t other = upgrade_other(&m->upgrade);
        if (other == 0) {
            listeners_unlink(m->deps.listeners);
            pidfile_release(m->deps.pidfile);
        }
        listeners_close(m->deps.listeners);
        control_resign(m->deps.control);
        if (other > 0) {
            kill(other, SIGCHLD); /* wakes it: the name of the control socket is free for it */
        }
        systemd_notify(other > 0 ? "MAINPID=%ld" : "STOPPING=1\nSTATUS=Stopping", (long)other);
        reload_cancel(&m->reload);
    }
    uint64_t kill_at_us = clock_mono_us() + (quickly ? ABORT_US : crew_graceful_us(m));
    m->stage = quickly ? STOPPING_QUICKLY : STOPPING;
    m->give_up_us = kill_at_us + GIVE_UP_US;
    for (size_t i = 0; i < m->children.n; i++) {
        struct child *c = &m->children.list[i];
        if (c->phase <= CHILD_LEAVING) {
            child_move(c, CHILD_LEAVING);
            c->kill_at_us = kill_at_us;
        }
        if (c->phase <= CHILD_HUNG) {
            child_signal(c, quickly ? SIGQUIT : SIGTERM);
        }
    }
}

/* The server cannot go up. */
void master_fail(struct master *m, int status, const char *reason)
{
    if (m->stage < STOPPING) {
        m->status = status;
        m->reason = reason;
        master_stop(m, true);
    }
}

/* What workers say, and their ends */

void master_tell_up(struct master *m)
{
    m->up = true;
    systemd_notify("READY=1\nMAINPID=%ld\nSTATUS=Serving, %d workers", (long)getpid(), m->wanted);
}

static void tell_starter(const struct master *m)
{
    struct buf urls = {0};
    if (listeners_describe(m->deps.listeners, &urls) == 0 && buf_cstr(&urls)) {
        printf("cwsgi serves %s (pid %ld)\n", urls.data, (long)getpid());
    }
    if (strcmp(m->deps.settings->errorlog, "-") == 0) {
        printf("It has no log file, so what it says from now on is lost: see --log-file\n");
    }
    fflush(stdout);
    buf_finish(&urls);
}

void master_stay(struct master *m)
{
    scoreboard_event(m->deps.scoreboard, EVENT_reloads_refused);
    master_tell_up(m); /* as before */
}

static void read_slots(struct master *m)
{
    for (size_t i = 0; i < m->children.n; i++) {
        crew_read_slot(m, &m->children.list[i]);
    }
    bool all_ready = m->stage == SERVING && crew_complete(m);
    if (all_ready && !m->up) {
        master_tell_up(m);
    }
    if (*m->deps.report_fd >= 0 && all_ready) {
        if (m->deps.by_ctl) {
            tell_starter(m);
        }
        if (!m->deps.settings->enable_stdio_inheritance) {
            stdio_silence();
        }
        daemon_report(m->deps.report_fd, 0);
    }
}

/* Somebody else than we asked a worker to leave. */
static bool was_told(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) == WORKER_OK
                             : WTERMSIG(status) == SIGTERM || WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGQUIT;
}

static void child_ended(struct master *m, struct child *in_table, int status)
{
    crew_read_slot(m, in_table); /* it may have been ready for a moment */
    children_log_end(&m->children, in_table, status);
    struct child c = *in_table;
    children_remove(&m->children, in_table);
    if (c.phase == CHILD_BOOTING) {
        scoreboard_event(m->deps.scoreboard, EVENT_workers_failed);
    } else if (c.phase <= CHILD_STALE && !was_told(status)) {
        scoreboard_event(m->deps.scoreboard, EVENT_workers_crashed);
    }
    if (c.phase == CHILD_BOOTING) {
        crew_boot_failed(m, WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    } else if (c.phase == CHILD_READY && !was_told(status)) {
        crew_crashed(m, &c);
    }
    m->deps.hooks->child_exit(m->deps.hooks, c.pid, c.age);
}

/* All children, also foreign ones, whose parent we are as pid 1 of a container; only our own are judged. */
void master_reap(struct master *m)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct child *c = children_find(&m->children, pid);
        if (c) {
            child_ended(m, c, status);
        } else if (upgrade_ended(&m->upgrade, pid, status)) {
            systemd_notify("MAINPID=%ld", (long)getpid());
            pidfile_clear(m->deps.pidfile, UPGRADE_SUFFIX); /* when it was killed */
        } else if (pid == m->reload.trial) {
            reload_ended(&m->reload, status);
            if (m->reload.state == RELOAD_REFUSED) {
                master_stay(m);
            }
        } else {
            logrotate_ended(m->logrotate, pid, status);
        }
    }
}

/* Time */

/* A hung worker is ended once it has nothing else to do, or its other requests have had their time. */
static void judge_hung(const struct master *m, struct child *c)
{
    if (c->phase != CHILD_HUNG) {
        return;
    }
    uint64_t patience = children_hangs_only(&m->children, c) ? REPORT_US : crew_graceful_us(m);
    c->abort_at_us = c->hung_us + (m->stage == STOPPING_QUICKLY ? 0 : patience);
}

static void abort_child(struct child *c, uint64_t now)
{
    if (c->phase < CHILD_ABORTED) {
        child_move(c, CHILD_ABORTED);
    }
    c->abort_at_us = 0;
    c->kill_at_us = now + ABORT_US;
    child_signal(c, SIGABRT);
}

static void judge_silence(struct master *m, struct child *c, uint64_t now)
{
    uint64_t end = children_silence_end(&m->children, c, timeout_us(m));
    if (end == 0 || now < end) {
        return;
    }
    log_critical("WORKER TIMEOUT (pid:%ld)", (long)c->pid);
    scoreboard_event(m->deps.scoreboard, EVENT_workers_timed_out);
    bool booting = c->phase == CHILD_BOOTING;
    child_move(c, CHILD_ABORTED);
    child_signal(c, SIGURG); /* it shows where it stands */
    c->abort_at_us = now + STACKS_US;
    if (booting) {
        crew_boot_failed(m, 0);
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
        judge_hung(m, c);
        if (c->abort_at_us > 0 && now >= c->abort_at_us) {
            abort_child(c, now);
        }
        if (c->kill_at_us > 0 && now >= c->kill_at_us && c->phase < CHILD_KILLED) {
            child_move(c, CHILD_KILLED);
            child_signal(c, SIGKILL);
        }
    }
    reload_tend(&m->reload, now);
    renewal_tend(m->stage == SERVING ? m->deps.renewal : NULL, now);
    recycle_tend(m, now);
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
    if (m->stage == SERVING && crew_fresh(m) < (size_t)m->wanted) {
        earlier(&at, crew_next_spawn_us(m));
    }
    earlier(&at, reload_deadline(&m->reload));
    earlier(&at, m->stage == SERVING ? recycle_deadline(m, now) : 0);
    earlier(&at, control_deadline(m->deps.control));
    earlier(&at, stackdump_deadline(m->deps.stackdump));
    earlier(&at, m->give_up_us);
    earlier(&at, m->watchdog_us > 0 ? m->alive_us : 0);
    earlier(&at, m->stage == SERVING ? metrics_deadline(&m->metrics) : 0);
    earlier(&at, m->stage == SERVING ? tickets_deadline(m->deps.tickets) : 0);
    earlier(&at, m->stage == SERVING ? stapler_deadline(m->stapler) : 0);
    earlier(&at, m->stage == SERVING ? renewal_deadline(m->deps.renewal) : 0);
    earlier(&at, m->stage == SERVING ? history_deadline(&m->history) : 0);
    earlier(&at, log_deadline());
    earlier(&at, m->stage == SERVING ? logrotate_deadline(m->logrotate) : 0);
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
    reload_await(&m->reload, &news);
    stapler_await(m->stapler, &news);
    renewal_await(m->stage == SERVING ? m->deps.renewal : NULL, &news);
    control_await(m->deps.control, &news);
    m->deps.hooks->wait_begin(m->deps.hooks);
    int r = poll(news.list, news.n, ms); /* EINTR is news too: the handler has run */
    m->deps.hooks->wait_end(m->deps.hooks);
    if (r > 0 && news.list[0].revents) {
        char drop[256];
        while (read(m->wake_fd[0], drop, sizeof(drop)) == (ssize_t)sizeof(drop)) {
        }
    }
}

/* Life */

/* This is not a new process, but the next image of one. */
static bool is_reload(const struct master *m)
{
    return m->deps.handover && !m->deps.handover->newborn;
}

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
    for (size_t i = 0; r == 0 && i < h->n_workers; i++) {
        if (h->workers[i].ended) {
            child_ended(m, children_find(&m->children, h->workers[i].pid), h->workers[i].status);
        }
    }
    for (size_t i = 0; r == 0 && i < m->children.n; i++) {
        if (m->children.list[i].phase == CHILD_LEAVING) {
            crew_retire(m, &m->children.list[i]); /* some hear it a second time, which does no harm */
        }
    }
    return r;
}

int master_create(struct master **out, const struct master_deps *deps)
{
    struct master *m = malloc(sizeof(*m));
    *out = NULL;
    if (!m) {
        return -ENOMEM;
    }
    *m = (struct master){
        .deps = *deps,
        .children = {.scoreboard = deps->scoreboard},
        .history.scoreboard = deps->settings->status_path ? deps->scoreboard : NULL,
        .metrics = {.statsd = deps->statsd, .settings = deps->settings},
        .watchdog_us = systemd_watchdog_us(),
        .wake_fd = {-1, -1},
        .master_fd = {-1, -1},
    };
    crew_init(m);
    recycle_init(m);
    reload_init(&m->reload, deps->launch, deps->settings);
    m->logrotate = logrotate_create(deps->settings);
    int r = 0;
    if (deps->handover) {
        upgrade_take_over(&m->upgrade, deps->handover);
    }
    if (deps->handover && !deps->handover->newborn) {
        r = take_over(m, deps->handover);
    } else if (pipe2(m->wake_fd, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(m->master_fd, O_CLOEXEC) < 0) {
        r = -errno;
    }
    if (r == 0 && deps->renewal && !(m->stapler = stapler_create(deps->renewal))) {
        r = -ENOMEM;
    }
    if (r < 0) {
        master_destroy(m);
        return r;
    }
    *out = m;
    return 0;
}

void master_destroy(struct master *m)
{
    if (!m) {
        return;
    }
    signals_close();
    stapler_destroy(m->stapler);
    for (int i = 0; i < 2; i++) {
        if (m->wake_fd[i] >= 0) {
            close(m->wake_fd[i]);
        }
        if (m->master_fd[i] >= 0) {
            close(m->master_fd[i]);
        }
    }
    logrotate_destroy(m->logrotate);
    children_finish(&m->children);
    reload_finish(&m->reload);
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

static void warn_of_few_descriptors(const struct settings *s)
{
    if (descriptors_limit() < (size_t)s->worker_connections) {
        log_warning("A worker may have %zu open files (ulimit -n): it holds fewer connections than the %d of "
                    "--worker-connections",
                    descriptors_limit(), s->worker_connections);
    }
}

/* The lines that scripts wait for, and the hooks in between, in gunicorn's order. 0, or what a hook gave (hooks.h). */
static int announce(struct master *m)
{
    struct hooks *hooks = m->deps.hooks;
    if (!is_reload(m)) {
        log_info("Starting cwsgi %s", CWSGI_VERSION);
    }
    int r = hooks->on_starting(hooks);
    if (r < 0) {
        return r;
    }
    show_listeners(m);
    log_listeners(m);
    warn_of_few_descriptors(m->deps.settings);
    if (!is_reload(m)) {
        log_info("Using worker: %s", m->deps.settings->threads > 1 ? "gthread" : "sync");
    }
    renewal_announce(m->deps.renewal);
    return hooks->when_ready(hooks);
}

static void start(struct master *m)
{
    m->stage = SERVING;
    m->scout_us = clock_mono_us() + SCOUT_US;
    orders_resize(m, m->deps.settings->workers);
    int r = announce(m);
    if (r < 0 && !m->served) {
        master_fail(m, HOOK_ENDS(r), "A hook failed.");
    }
}

/* The elder master is gone: what was its, is ours. */
static void promote(struct master *m)
{
    struct buf error = {0};
    systemd_notify("MAINPID=%ld", (long)getpid());
    if (m->deps.pidfile && pidfile_promote(m->deps.pidfile, UPGRADE_SUFFIX, &error) < 0) {
        const char *text = buf_cstr(&error);
        log_error("%s", text ? text : "Out of memory");
    }
    buf_finish(&error);
}

static void finish(struct master *m)
{
    enum log_level level = m->status == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
    for (size_t i = 0; i < m->children.n; i++) {
        log_error("Worker (pid:%ld) does not end; it is left behind", (long)m->children.list[i].pid);
    }
    log_line(level, "Shutting down: %s", upgrade_name(&m->upgrade));
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
        reload_refuse(&m->reload, "it can't be executed");
        master_stay(m);
    }
    master_reap(m); /* those that ended while nobody listened */
    for (;;) {
        orders_take(m);
        read_slots(m);
        stackdump_tend(m->deps.stackdump, clock_mono_us());
        control_settle(m->deps.control, m->deps.settings);
        control_tend(m->deps.control, m, clock_mono_us());
        watch(m);
        if (crew_balance(m, seat)) {
            return MASTER_WORKER;
        }
        tickets_turn(m->deps.tickets, clock_mono_us());
        log_tend(false);
        history_turn(&m->history);
        if (m->stage == SERVING && logrotate_turn(m->logrotate, clock_mono_us())) {
            orders_reopen(m);
        }
        if (m->stage == SERVING) {
            stapler_turn(m->stapler, clock_mono_us());
        }
        metrics_tell(&m->metrics, crew_fresh(m), m->deps.listeners, clock_mono_us());
        if (m->stage >= STOPPING && (m->children.n == 0 || clock_mono_us() >= m->give_up_us)) {
            finish(m);
            *status = m->status;
            return MASTER_EXIT;
        }
        if (upgrade_promoted(&m->upgrade)) {
            promote(m);
        }
        if (m->upgrade.asked && m->stage == SERVING && upgrade_start(&m->upgrade, m->deps.hooks)) {
            return MASTER_REEXEC;
        }
        if (m->reload.state == RELOAD_GOOD && m->stage == SERVING) {
            m->reload.state = RELOAD_NONE;
            m->deps.hooks->on_reload(m->deps.hooks);
            orders_reopen_logs(m);
            signals_suspend();
            return MASTER_REEXEC;
        }
        wait_for_news(m);
    }
}

int master_hand_over(const struct master *m, struct handover *h)
{
    upgrade_hand_over(&m->upgrade, h);
    if (h->newborn) {
        return 0;
    }
    h->age = m->age;
    h->served = m->served;
    for (int i = 0; i < 2; i++) {
        h->wake_fd[i] = m->wake_fd[i];
        h->master_fd[i] = m->master_fd[i];
    }
    return children_hand_over(&m->children, h);
}

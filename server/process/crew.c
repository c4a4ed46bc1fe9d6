/* crew.c - makes the workers as many as they should be: starts them, with backoff, and lets the surplus go. */
#include "server/process/crew.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/process/hooks.h"
#include "server/process/master_inside.h"
#include "server/process/renewal.h"
#include "server/process/signals.h"

#define BACKOFF_MIN_US (SECOND_US / 10)
#define BACKOFF_MAX_US (30 * SECOND_US)
#define BACKOFF_ALONE_US SECOND_US /* when no other worker serves */
#define CRASH_US (10 * SECOND_US)  /* a worker that ends so soon does not do its work */
#define CRASH_MEMORY_US (60 * SECOND_US)
#define GRACE_MARGIN_US (SECOND_US / 2) /* a worker that gives up by itself at graceful_timeout may still tidy up */

static void forget_backoff(struct backoff *b)
{
    *b = (struct backoff){.wait_us = BACKOFF_MIN_US};
}

void crew_init(struct master *m)
{
    forget_backoff(&m->boot);
    forget_backoff(&m->crash);
}

size_t crew_fresh(const struct master *m)
{
    return children_count(&m->children, CHILD_BOOTING) + children_count(&m->children, CHILD_READY);
}

uint64_t crew_graceful_us(const struct master *m)
{
    return (uint64_t)m->deps.settings->graceful_timeout * SECOND_US + GRACE_MARGIN_US;
}

void crew_retire(struct master *m, struct child *c)
{
    child_move(c, CHILD_LEAVING);
    c->kill_at_us = clock_mono_us() + crew_graceful_us(m);
    child_signal(c, SIGTERM);
}

/* Starting workers */

static size_t serving(const struct master *m)
{
    return children_count(&m->children, CHILD_READY) + children_count(&m->children, CHILD_STALE);
}

/* There is no way to more workers now: later again, and later each time, up to `max_us`. Several failures of one round
 * count once. */
static void back_off(struct master *m, struct backoff *b, uint64_t max_us, const char *what)
{
    uint64_t now = clock_mono_us();
    if (now < b->at_us) {
        return;
    }
    if (b->wait_us > max_us) {
        b->wait_us = max_us;
    }
    b->at_us = now + b->wait_us;
    log_warning("%s; trying again in %.1f s, %zu of %d workers serve", what, (double)b->wait_us / (double)SECOND_US,
                serving(m), m->wanted);
    b->wait_us = b->wait_us * 2 < max_us ? b->wait_us * 2 : max_us;
}

void crew_boot_failed(struct master *m, int status)
{
    if (m->stage >= STOPPING) {
        return;
    }
    if (m->served || status == 0 || status == WORKER_SHORT) {
        back_off(m, &m->boot, BACKOFF_MAX_US, "A new worker failed to boot");
    } else if (status == WORKER_APP_ERROR) {
        master_fail(m, WORKER_APP_ERROR, "App failed to load.");
    } else {
        master_fail(m, WORKER_BOOT_ERROR, "Worker failed to boot.");
    }
}

void crew_crashed(struct master *m, const struct child *c)
{
    uint64_t now = clock_mono_us();
    if (m->stage != SERVING) {
        return;
    }
    bool often = now - c->spawned_us < CRASH_US && m->crashed_us > 0 && now - m->crashed_us < CRASH_MEMORY_US;
    m->crashed_us = now;
    if (!often) {
        forget_backoff(&m->crash); /* what is rare is mended at once */
        return;
    }
    /* Better a site that falls again and again than none. */
    back_off(m, &m->crash, serving(m) > 0 ? BACKOFF_MAX_US : BACKOFF_ALONE_US, "Workers crash soon after their start");
}

/* In the child: only what a worker needs stays open. */
static void become_worker(struct master *m, unsigned slot, struct seat *seat)
{
    signals_close();
    close(m->master_fd[1]);
    close(m->wake_fd[0]);
    *seat = (struct seat){.slot = slot, .age = m->age, .master_fd = m->master_fd[0], .ready_fd = m->wake_fd[1]};
    m->master_fd[0] = m->master_fd[1] = m->wake_fd[0] = m->wake_fd[1] = -1;
    reload_forget(&m->reload);
    renewal_forget(m->deps.renewal);
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
    children_label(&m->children, slot, m->age);
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
    scoreboard_event(m->deps.scoreboard, EVENT_workers_started);
    children_add(&m->children, &(struct child){.pid = pid, .slot = slot, .age = m->age, .spawned_us = clock_mono_us()});
    return 0;
}

static void spawn_failed(struct master *m, int r)
{
    char text[160];
    if (r == -ECANCELED && !m->served) {
        master_fail(m, 1, "The hook pre_fork failed.");
        return;
    }
    snprintf(text, sizeof(text), "Can't start a worker: %s%s",
             r == -ECANCELED ? "the hook pre_fork failed" : strerror(-r),
             r == -EAGAIN ? " (this account may have no more processes: see ulimit -u)" : "");
    back_off(m, &m->boot, BACKOFF_MAX_US, text);
}

static void retire_surplus(struct master *m)
{
    struct children *cs = &m->children;
    size_t wanted = (size_t)m->wanted;
    size_t ready = children_count(cs, CHILD_READY), stale = children_count(cs, CHILD_STALE);

    /* Each new one that is ready lets an old one go. */
    for (; stale > 0 && ready > 0 && ready + stale > wanted; stale--) {
        crew_retire(m, children_oldest(cs, CHILD_STALE));
    }
    /* TTOU: the oldest goes, but not one that serves for the sake of one that does not yet. */
    while (crew_fresh(m) > wanted) {
        bool serves = children_count(cs, CHILD_READY) > wanted;
        crew_retire(m, children_oldest(cs, serves ? CHILD_READY : CHILD_BOOTING));
    }
}

/* When the next worker may be started. The first one has the processors for itself for a moment: the first answer comes
 * sooner, and an application that does not load shows one traceback and not one a worker. */
uint64_t crew_next_spawn_us(const struct master *m)
{
    bool scouting = !m->served && crew_fresh(m) > 0;
    uint64_t at = m->boot.at_us > m->crash.at_us ? m->boot.at_us : m->crash.at_us;
    return scouting && m->scout_us > at ? m->scout_us : at;
}

/* Makes the workers as many as they should be. True in a new worker. */
bool crew_balance(struct master *m, struct seat *seat)
{
    while (m->stage == SERVING && crew_fresh(m) < (size_t)m->wanted && clock_mono_us() >= crew_next_spawn_us(m)) {
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

void crew_read_slot(struct master *m, struct child *c)
{
    if (children_read_slot(&m->children, c)) {
        m->served = true;
        forget_backoff(&m->boot);
        recycle_ready(m, c);
        if (c->reopen) {
            child_signal(c, SIGUSR1);
        }
    }
}

bool crew_complete(const struct master *m)
{
    size_t ready = children_count(&m->children, CHILD_READY);
    return ready >= (size_t)m->wanted || (ready > 0 && clock_mono_us() < crew_next_spawn_us(m) && m->served);
}

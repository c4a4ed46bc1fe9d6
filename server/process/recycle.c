/* recycle.c - which worker is to be replaced, when, and why. */
#include "server/process/recycle.h"

#include <signal.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/memory.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/process/crew.h"
#include "server/process/master_inside.h"

#define SAMPLE_US SECOND_US
#define SAMPLES 5                 /* in a row, before a limit counts as passed: a peak is no leak */
#define HARD_US SECOND_US         /* from SIGQUIT to SIGKILL */
#define LONGEST_DAY_S (25 * 3600) /* summer time ends */
#define FRESH_US (10 * SECOND_US) /* that long after it was ready */
#define SHORT_LIFE_US (60 * SECOND_US)
#define PAUSE_MIN_US (10 * SECOND_US)
#define PAUSE_MAX_US (600 * SECOND_US)
#define MIB ((double)(1024 * 1024))

void recycle_init(struct master *m)
{
    const struct settings *s = m->deps.settings;
    m->recycle = (struct recycle){0};
    if (s->recycle_at) {
        m->recycle.daily = clock_next(s->recycle_at, time(NULL));
    }
    if (s->max_worker_memory || s->max_worker_memory_hard || s->memory_budget) {
        m->recycle.sample_us = clock_mono_us();
    }
}

/* Up to a tenth more, so that not all workers of one start are due at once. */
void recycle_ready(const struct master *m, struct child *c)
{
    c->ready_us = clock_mono_us();
    uint64_t life = (uint64_t)m->deps.settings->worker_lifetime * SECOND_US, more = 0;
    if (life == 0) {
        return;
    }
    if (getrandom(&more, sizeof(more), GRND_NONBLOCK) != (ssize_t)sizeof(more)) {
        more = 0;
    }
    c->due_us = c->ready_us + life + more % (life / 10);
}

/* Memory */

static void end_at_once(struct master *m, struct child *c)
{
    log_error("Worker (pid:%ld) uses %.0f MiB, more than max_worker_memory_hard: it is ended", (long)c->pid,
              (double)c->memory / MIB);
    if (c->phase != CHILD_STALE || c->due == RECYCLE_NONE) { /* else it was counted when it became stale */
        scoreboard_event(m->deps.scoreboard, EVENT_workers_recycled);
    }
    child_move(c, CHILD_LEAVING);
    c->kill_at_us = clock_mono_us() + HARD_US;
    child_signal(c, SIGQUIT);
    crew_crashed(m, c);
}

static void judge_memory(struct master *m, struct child *c, uint64_t now)
{
    const struct settings *s = m->deps.settings;
    if (s->max_worker_memory_hard && c->memory > s->max_worker_memory_hard && c->phase < CHILD_LEAVING) {
        end_at_once(m, c);
        return;
    }
    c->over = s->max_worker_memory && c->memory > s->max_worker_memory ? c->over + 1 : 0;
    c->over_us = c->over == 1 ? now : c->over_us;
    if (c->over >= SAMPLES && c->due == RECYCLE_NONE) {
        c->due = RECYCLE_MEMORY;
    }
}

static struct child *fattest(const struct master *m)
{
    struct child *most = NULL;
    for (size_t i = 0; i < m->children.n; i++) {
        struct child *c = &m->children.list[i];
        if (c->phase == CHILD_READY && (!most || c->memory > most->memory)) {
            most = c;
        }
    }
    return most;
}

static size_t sum(const struct master *m, size_t own)
{
    size_t total = own;
    for (size_t i = 0; i < m->children.n; i++) {
        total += m->children.list[i].memory;
    }
    return total;
}

/* What is shared is counted in parts, which is dear, only where it would be too much when counted whole. */
static void sample(struct master *m, uint64_t now)
{
    const struct settings *s = m->deps.settings;
    size_t least = s->max_worker_memory ? s->max_worker_memory : s->max_worker_memory_hard;
    size_t own = memory_rss(getpid());
    for (size_t i = 0; i < m->children.n; i++) {
        m->children.list[i].memory = memory_rss(m->children.list[i].pid);
    }
    bool all = s->memory_budget && sum(m, own) > s->memory_budget;
    for (size_t i = 0; i < m->children.n; i++) {
        struct child *c = &m->children.list[i];
        if (all || (least && c->memory > least)) {
            c->memory = memory_pss(c->pid);
        }
    }
    m->recycle.total = sum(m, all ? memory_pss(getpid()) : own);
    m->recycle.over_budget = all && m->recycle.total > s->memory_budget ? m->recycle.over_budget + 1 : 0;
    for (size_t i = 0; i < m->children.n; i++) {
        judge_memory(m, &m->children.list[i], now);
    }
}

/* All workers together use too much: the fattest is due, once none is on its way any more. */
static void judge_budget(struct master *m, uint64_t now)
{
    struct child *c = fattest(m);
    if (m->recycle.over_budget >= SAMPLES && c && c->due == RECYCLE_NONE &&
        children_count(&m->children, CHILD_LEAVING) == 0) {
        c->due = RECYCLE_BUDGET;
        c->over_us = now;
        m->recycle.over_budget = 0;
    }
}

/* One at a time */

static bool is_for_memory(const struct child *c)
{
    return c->due == RECYCLE_MEMORY || c->due == RECYCLE_BUDGET;
}

/* A limit that a fresh worker passes, too, must not keep the processors busy with new ones. One that grew to it leaks,
 * and a new one helps. The budget is passed by all together, and they are replaced in turn: there a minute is short. */
static bool was_too_large_when_fresh(const struct child *c)
{
    return c->over_us - c->ready_us < (c->due == RECYCLE_BUDGET ? SHORT_LIFE_US : FRESH_US);
}

static void pause_after(struct master *m, const struct child *c, uint64_t now)
{
    struct recycle *r = &m->recycle;
    if (!was_too_large_when_fresh(c)) {
        r->pause_us = 0;
        return;
    }
    r->pause_us = r->pause_us ? r->pause_us * 2 : PAUSE_MIN_US;
    r->pause_us = r->pause_us < PAUSE_MAX_US ? r->pause_us : PAUSE_MAX_US;
    r->not_before_us = now + r->pause_us;
    log_warning("Worker (pid:%ld) is over the limit %.0f s after its start: the limit is too small for this "
                "application; none is replaced for its memory in the next %.0f s",
                (long)c->pid, (double)(c->over_us - c->spawned_us) / (double)SECOND_US,
                (double)r->pause_us / (double)SECOND_US);
}

static void replace(struct master *m, struct child *c, uint64_t now)
{
    long pid = (long)c->pid;
    double mib = (double)c->memory / MIB;
    switch (c->due) {
    case RECYCLE_NONE:
    case RECYCLE_REQUESTS: /* the worker has said so itself */
        break;
    case RECYCLE_LIFETIME:
        log_info("Replacing worker (pid:%ld): it has served for %.0f s", pid,
                 (double)(now - c->spawned_us) / (double)SECOND_US);
        break;
    case RECYCLE_DAILY:
        log_info("Replacing worker (pid:%ld): recycle_at", pid);
        break;
    case RECYCLE_MEMORY:
        log_warning("Replacing worker (pid:%ld): it uses %.0f MiB, more than max_worker_memory", pid, mib);
        break;
    case RECYCLE_BUDGET:
        log_warning("Replacing worker (pid:%ld): it uses %.0f MiB, all processes together %.0f MiB, more than "
                    "memory_budget",
                    pid, mib, (double)m->recycle.total / MIB);
        break;
    }
    if (is_for_memory(c)) {
        pause_after(m, c, now);
    }
    child_move(c, CHILD_STALE);
    scoreboard_event(m->deps.scoreboard, EVENT_workers_recycled);
}

/* None is on its way: neither a replacement nor one that waits for its own. */
static bool may_replace(const struct master *m, uint64_t now)
{
    const struct children *cs = &m->children;
    return m->stage == SERVING && children_count(cs, CHILD_STALE) == 0 && children_count(cs, CHILD_BOOTING) == 0 &&
           children_count(cs, CHILD_READY) >= (size_t)m->wanted && now >= crew_next_spawn_us(m);
}

static void look_who_is_due(struct master *m, uint64_t now)
{
    time_t at = m->recycle.daily, today = time(NULL);
    bool daily = at > 0 && today >= at;
    if (daily || at > today + LONGEST_DAY_S) { /* a clock that was set back must not put it off for weeks */
        m->recycle.daily = clock_next(m->deps.settings->recycle_at, today);
    }
    for (size_t i = 0; i < m->children.n; i++) {
        struct child *c = &m->children.list[i];
        const struct slot *slot = children_slot(&m->children, c);
        if (c->phase != CHILD_READY || c->due != RECYCLE_NONE) {
            continue;
        }
        if (slot && atomic_load(&slot->state) == SLOT_WANTS_RETIRE) {
            c->due = RECYCLE_REQUESTS;
        } else if (c->due_us > 0 && now >= c->due_us) {
            c->due = RECYCLE_LIFETIME;
        } else if (daily) {
            c->due = RECYCLE_DAILY;
        }
    }
}

void recycle_tend(struct master *m, uint64_t now)
{
    struct recycle *r = &m->recycle;
    look_who_is_due(m, now);
    if (r->sample_us > 0 && now >= r->sample_us) {
        r->sample_us = now + SAMPLE_US;
        sample(m, now);
        judge_budget(m, now);
    }
    if (!may_replace(m, now)) {
        return;
    }
    for (size_t i = 0; i < m->children.n; i++) {
        struct child *c = &m->children.list[i];
        if (c->phase == CHILD_READY && c->due != RECYCLE_NONE && (!is_for_memory(c) || now >= r->not_before_us)) {
            replace(m, c, now);
            return;
        }
    }
}

uint64_t recycle_deadline(const struct master *m, uint64_t now)
{
    uint64_t at = m->recycle.sample_us > 0 ? m->recycle.sample_us : UINT64_MAX;
    if (m->recycle.daily > 0) {
        time_t left = m->recycle.daily - time(NULL);
        uint64_t daily = now + (left > 0 ? (uint64_t)left * SECOND_US : 0);
        at = daily < at ? daily : at;
    }
    for (size_t i = 0; i < m->children.n; i++) {
        const struct child *c = &m->children.list[i];
        /* One that is due waits for news of the others, or for the end of a backoff. */
        uint64_t next = c->due == RECYCLE_NONE ? c->due_us : crew_next_spawn_us(m);
        if (c->phase == CHILD_READY && next > now && next < at) {
            at = next;
        }
    }
    return at == UINT64_MAX ? 0 : at;
}

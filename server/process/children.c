/* children.c - the master's table of its workers. */
#include "server/process/children.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/process/reexec.h"
#include "server/process/signals.h"

#define SLOTS_STEP 16
#define TELLING_US (2 * 1000 * 1000) /* for a worker to tell that a call takes too long */

void children_finish(struct children *cs)
{
    free(cs->list);
    *cs = (struct children){0};
}

static bool is_taken(const struct children *cs, unsigned slot)
{
    for (size_t i = 0; i < cs->n; i++) {
        if (cs->list[i].slot == slot) {
            return true;
        }
    }
    return false;
}

int children_reserve(struct children *cs, unsigned *slot)
{
    struct child *more = reallocarray(cs->list, cs->n + 1, sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    cs->list = more;

    /* Our own table says who sits where, not the shared page, which a worker gone mad may have written over. */
    size_t size = scoreboard_size(cs->scoreboard);
    for (*slot = 0; *slot < size; ++*slot) {
        if (!is_taken(cs, *slot)) {
            return 0;
        }
    }
    return scoreboard_grow(cs->scoreboard, size + SLOTS_STEP);
}

void children_label(const struct children *cs, unsigned slot, unsigned age)
{
    struct slot *s = scoreboard_slot(cs->scoreboard, slot);
    atomic_store(&s->spawned_us, clock_mono_us());
    atomic_store(&s->age, age);
    atomic_store(&s->generation, atomic_load(&scoreboard_board(cs->scoreboard)->generation));
    atomic_store(&s->state, SLOT_BOOTING);
}

void children_add(struct children *cs, const struct child *c)
{
    cs->list[cs->n++] = *c;
}

void children_remove(struct children *cs, struct child *c)
{
    if (c->slot != HANDOVER_NO_SLOT) {
        scoreboard_vacate(cs->scoreboard, c->slot);
    }
    size_t behind = cs->n - (size_t)(c - cs->list) - 1;
    memmove(c, c + 1, behind * sizeof(*c));
    cs->n--;
}

size_t children_count(const struct children *cs, enum child_phase phase)
{
    size_t n = 0;
    for (size_t i = 0; i < cs->n; i++) {
        n += cs->list[i].phase == phase;
    }
    return n;
}

struct child *children_oldest(const struct children *cs, enum child_phase phase)
{
    for (size_t i = 0; i < cs->n; i++) {
        if (cs->list[i].phase == phase) {
            return &cs->list[i];
        }
    }
    return NULL;
}

struct child *children_find(const struct children *cs, pid_t pid)
{
    for (size_t i = 0; i < cs->n; i++) {
        if (cs->list[i].pid == pid) {
            return &cs->list[i];
        }
    }
    return NULL;
}

struct slot *children_slot(const struct children *cs, const struct child *c)
{
    return c->slot == HANDOVER_NO_SLOT ? NULL : scoreboard_slot(cs->scoreboard, c->slot);
}

bool children_read_slot(const struct children *cs, struct child *c)
{
    const struct slot *slot = children_slot(cs, c);
    int state = slot ? atomic_load(&slot->state) : SLOT_FREE;
    bool hung = state == SLOT_HUNG || state == SLOT_HUNG_ONLY;
    bool now_ready = c->phase == CHILD_BOOTING && state >= SLOT_READY; /* also if it is leaving by now */
    if (now_ready) {
        child_move(c, CHILD_READY);
    }
    if (hung && c->phase < CHILD_HUNG) {
        child_move(c, CHILD_HUNG);
        c->hung_us = clock_mono_us();
        scoreboard_event(cs->scoreboard, EVENT_workers_timed_out);
    }
    return now_ready;
}

bool children_hangs_only(const struct children *cs, const struct child *c)
{
    const struct slot *slot = children_slot(cs, c);
    return c->phase == CHILD_HUNG && slot && atomic_load(&slot->state) == SLOT_HUNG_ONLY;
}

uint64_t children_silence_end(const struct children *cs, const struct child *c, uint64_t timeout_us)
{
    const struct slot *slot = children_slot(cs, c);
    if (timeout_us == 0 || c->phase >= CHILD_HUNG || !slot) {
        return 0;
    }
    uint64_t busy = atomic_load(&slot->busy_since_us);
    if (busy > 0) {
        return busy + timeout_us + TELLING_US;
    }
    return c->phase == CHILD_BOOTING ? c->spawned_us + timeout_us : 0;
}

void child_move(struct child *c, enum child_phase to)
{
    assert(to > c->phase || (to == CHILD_LEAVING && c->phase == CHILD_LEAVING)); /* told again: more urgently */
    c->phase = to;
}

void child_signal(const struct child *c, int sig)
{
    if (kill(c->pid, sig) < 0) {
        log_error("Can't signal worker (pid:%ld): %s", (long)c->pid, strerror(errno));
    }
}

static void log_end(const struct child *c, int status)
{
    if (WIFEXITED(status)) {
        if (WEXITSTATUS(status) != 0) {
            log_error("Worker (pid:%ld) exited with code %d.", (long)c->pid, WEXITSTATUS(status));
        }
        return;
    }
    int sig = WTERMSIG(status);
    const char *name = signals_name(sig);
    char number[16];
    snprintf(number, sizeof(number), "%d", sig);
    enum log_level level = LOG_LEVEL_WARNING;
    if (sig == SIGKILL) {
        level = LOG_LEVEL_ERROR;
    } else if (sig == SIGTERM || c->phase == CHILD_LEAVING) { /* told while it had no handlers yet */
        level = LOG_LEVEL_INFO;
    }
    bool by_others = sig == SIGKILL && c->phase != CHILD_KILLED;
    log_line(level, "Worker (pid:%ld) was sent SIG%s!%s", (long)c->pid, name ? name : number,
             by_others ? " Perhaps out of memory?" : "");
}

void children_log_end(const struct children *cs, const struct child *c, int status)
{
    const struct slot *slot = children_slot(cs, c);
    struct shown x;
    log_end(c, status);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM;
    if (killed && slot && atomic_load(&slot->busy_since_us) > 0 && slot_read_shown(slot, &x)) {
        log_error("Worker (pid:%ld) was running %.*s %.*s%s from %.*s", (long)c->pid, (int)x.method_len, x.method,
                  (int)x.target_len, x.target, x.cut ? "..." : "", x.client_len ? (int)x.client_len : 13,
                  x.client_len ? x.client : "a unix socket");
    }
}

int children_hand_over(const struct children *cs, struct handover *h)
{
    h->workers = calloc(cs->n + 1, sizeof(*h->workers));
    if (!h->workers) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < cs->n; i++) {
        const struct child *c = &cs->list[i];
        h->workers[i] = (struct handover_worker){
            .pid = c->pid, .slot = c->slot, .age = c->age, .retiring = c->phase >= CHILD_LEAVING};
    }
    h->n_workers = cs->n;
    return 0;
}

int children_adopt(struct children *cs, const struct handover *h)
{
    cs->list = calloc(h->n_workers + 1, sizeof(*cs->list));
    if (!cs->list) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < h->n_workers; i++) {
        const struct handover_worker *w = &h->workers[i];
        struct child c = {.pid = w->pid, .slot = w->slot, .age = w->age, .spawned_us = clock_mono_us()};
        if (c.slot >= scoreboard_size(cs->scoreboard)) {
            c.slot = HANDOVER_NO_SLOT;
        }
        const struct slot *slot = children_slot(cs, &c);
        bool booting = slot && atomic_load(&slot->state) == SLOT_BOOTING;
        child_move(&c, w->retiring || booting ? CHILD_LEAVING : CHILD_STALE);
        children_add(cs, &c);
    }
    return 0;
}

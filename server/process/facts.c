/* facts.c - what is true of a master and its workers at one moment. */
#include "server/process/facts.h"

#include <sys/stat.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/base/memory.h"
#include "server/config/settings.h"
#include "server/process/master_inside.h"

#define PSS_WORKERS 64 /* with more, only the resident size is told: the kernel walks all pages for the other */

bool facts_serves(const struct master *m)
{
    return m->stage == SERVING &&
           children_count(&m->children, CHILD_READY) + children_count(&m->children, CHILD_STALE) > 0;
}

const char *facts_state(const struct master *m)
{
    if (m->stage >= STOPPING) {
        return "stopping";
    }
    return m->reload.state == RELOAD_TRYING || m->reload.state == RELOAD_LATE ? "reloading"
           : facts_serves(m)                                                  ? "serving"
                                                                              : "starting";
}

const char *facts_name(const struct master *m)
{
    const struct settings *s = m->deps.settings;
    return s->proc_name ? s->proc_name : m->deps.app_name;
}

static const char *worker_state(const struct child *c, bool busy)
{
    static const char *const PHASES[] = {"booting", "", "", "leaving", "hung", "aborted", "killed"};
    if (c->phase == CHILD_READY) {
        return busy ? "busy" : "idle";
    }
    return c->phase == CHILD_STALE ? "replaced soon" : PHASES[c->phase];
}

struct facts_worker facts_worker(const struct master *m, const struct child *c)
{
    uint64_t now = clock_mono_us();
    struct facts_worker w = {.child = c, .slot = children_slot(&m->children, c), .rss = memory_rss(c->pid)};
    w.pss = m->children.n <= PSS_WORKERS ? memory_pss(c->pid) : 0;
    uint64_t since = w.slot ? atomic_load(&w.slot->busy_since_us) : 0;
    if (since > 0) {
        w.busy_us = now > since ? now - since : 1;
        w.shows = slot_read_shown(w.slot, &w.shown);
        w.age_us = w.shows && now > w.shown.began_us ? now - w.shown.began_us : 0;
    }
    w.state = worker_state(c, since > 0);
    return w;
}

uint64_t facts_gauge(const struct facts_worker *w, enum gauge g)
{
    return w->slot ? atomic_load(&w->slot->gauges[g]) : 0;
}

uint64_t facts_counter(const struct facts_worker *w, enum counter c)
{
    return w->slot ? atomic_load(&w->slot->counters[c]) : 0;
}

uint64_t facts_sum(const struct master *m, enum gauge g)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->children.n; i++) {
        const struct slot *s = children_slot(&m->children, &m->children.list[i]);
        n += s ? atomic_load(&s->gauges[g]) : 0;
    }
    return n;
}

uint64_t facts_since(int64_t then)
{
    int64_t now = (int64_t)time(NULL);
    return now > then ? (uint64_t)(now - then) : 0;
}

bool facts_file_size(const char *path, uint64_t *size)
{
    struct stat st;
    if (!path || stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
        return false;
    }
    *size = (uint64_t)st.st_size;
    return true;
}

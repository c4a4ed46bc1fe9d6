/* orders.c - does what a signal tells the master. */
#include "server/process/orders.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/process/crew.h"
#include "server/process/hooks.h"
#include "server/process/master_inside.h"
#include "server/process/signals.h"
#include "server/process/stackdump.h"
#include "server/process/systemd.h"
#include "server/process/user.h"

void orders_reload(struct master *m)
{
    systemd_notify_reloading();
    reload_start(&m->reload);
    if (m->reload.state == RELOAD_REFUSED) {
        master_stay(m);
    }
}

void orders_reopen_logs(const struct master *m)
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
    }
}

void orders_reopen(struct master *m)
{
    orders_reopen_logs(m);
    for (size_t i = 0; i < m->children.n; i++) {
        struct child *c = &m->children.list[i];
        if (c->phase == CHILD_BOOTING) {
            c->reopen = true;
        } else if (c->phase < CHILD_LEAVING) { /* one that leaves may be past hearing it, and notices by itself */
            child_signal(c, SIGUSR1);
        }
    }
}

void orders_resize(struct master *m, int wanted)
{
    int before = m->wanted, most = settings_max("workers");
    wanted = wanted < most ? wanted : most;
    if (wanted == before) {
        return;
    }
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
    orders_resize(m, 0);
    for (size_t i = 0; i < m->children.n; i++) {
        if (m->children.list[i].phase < CHILD_LEAVING) {
            crew_retire(m, &m->children.list[i]);
        }
    }
}

/* A reload; but WINCH is taken back by it: the workers of this release return, whatever became of the new one. */
static void hang_up(struct master *m)
{
    if (m->wanted == 0) {
        orders_resize(m, m->deps.settings->workers);
    } else {
        orders_reload(m);
    }
}

static void obey_serving(struct master *m, int sig)
{
    switch (sig) {
    case SIGTERM:
        master_stop(m, false);
        break;
    case SIGINT:
    case SIGQUIT:
        master_stop(m, true);
        break;
    case SIGUSR2:
        upgrade_ask(&m->upgrade);
        break;
    case SIGHUP:
        log_info("Hang up: %s", upgrade_name(&m->upgrade));
        hang_up(m);
        break;
    case SIGUSR1:
        orders_reopen(m);
        break;
    case SIGURG:
        for (size_t i = 0; i < m->children.n; i++) {
            stackdump_ask(m->deps.stackdump, m->children.list[i].pid);
        }
        break;
    case SIGTTIN:
        orders_resize(m, m->wanted + 1);
        break;
    case SIGTTOU:
        if (m->wanted > 1) {
            orders_resize(m, m->wanted - 1);
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
        master_stop(m, true);
    } else if (sig == SIGUSR1) {
        orders_reopen_logs(m);
    }
}

static void log_signal(int sig)
{
    char name[16];
    snprintf(name, sizeof(name), "%s", signals_name(sig));
    for (char *c = name; *c; c++) {
        *c = (char)(*c | 0x20); /* to lower case; digits have the bit already */
    }
    log_line(sig == SIGCHLD ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "Handling signal: %s", name);
}

void orders_take(struct master *m)
{
    int sig;
    while ((sig = signals_take()) != 0) {
        bool stops = sig == SIGTERM || sig == SIGINT || sig == SIGQUIT;
        if (!stops) { /* a stop does not wait for the disk */
            log_signal(sig);
        }
        if (sig == SIGCHLD) {
            master_reap(m);
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

/* leaving.c - how a worker is told to stop, and what it does then. */
#include "server/process/leaving.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/base/slot.h"
#include "server/config/settings.h"
#include "server/exec/pool.h"
#include "server/process/doors.h"
#include "server/process/title.h"
#include "server/process/worker.h"
#include "server/process/worker_inside.h"
#include "server/process/workersignals.h"

/* For calls of the application that still run when a worker quits; the master kills it after a second. */
#define LAST_WORDS_MS 250

/* For the signal handler: there is one worker in a process. */
static struct worker *the_worker;

/* Runs at once, also while the application computes. A script that looks for this server by its path or its port may
 * start another one right after the signal: the title changes, and the port is freed, before anything else. */
static void on_stop_signal(int number)
{
    struct worker *w = the_worker;
    title_hide();
    doors_give_up(w->doors, number == SIGTERM);
    bool busy = atomic_load_explicit(&w->slot->busy_since_us, memory_order_relaxed) != 0;
    if (number != SIGTERM && busy && getppid() != w->master_pid) {
        _exit(1); /* the master was killed, and nobody is left who could end an application that hangs */
    }
    atomic_store(&w->order, number == SIGTERM ? SIGTERM : SIGQUIT);
    uv_async_send(&w->told);
}

static void on_calls_stuck(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    w->state = LEAVING;
}

static void quit(struct worker *w)
{
    if (w->state == SERVING) {
        doors_close(w->doors);
    }
    w->state = QUITTING;
    conns_give_up(&w->conns, true);
    conns_close_all(&w->conns);
    if (!w->hung) { /* else the master ends us in its own way, with the hook worker_abort */
        uv_timer_start(&w->patience, on_calls_stuck, LAST_WORDS_MS, 0);
    }
}

static void on_patience_lost(uv_timer_t *timer)
{
    quit(timer->data);
}

void leaving_drain(struct worker *w)
{
    if (w->state != SERVING) {
        return;
    }
    w->state = DRAINING;
    atomic_store(&w->slot->state, SLOT_DRAINING);
    doors_close(w->doors);
    conns_drain(&w->conns);
    uv_timer_start(&w->patience, on_patience_lost, (uint64_t)w->deps->settings->graceful_timeout * 1000, 0);
}

bool leaving_is_done(const struct worker *w)
{
    bool idle = w->pool ? pool_is_idle(w->pool) : !inline_has_work(&w->executor);
    return w->state == LEAVING || (w->state != SERVING && w->conns.count == 0 && idle);
}

static void on_told(uv_async_t *handle)
{
    struct worker *w = handle->data;
    if (atomic_load(&w->order) == SIGTERM) {
        leaving_drain(w);
    } else if (w->state < QUITTING) {
        w->interrupted = true;
        quit(w);
    }
}

static void on_master_gone(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct worker *w = poll->data;
    uv_poll_stop(poll);
    log_error("The master is gone: this worker leaves");
    quit(w);
}

int leaving_init(struct worker *w, int master_fd)
{
    uv_timer_init(&w->loop, &w->patience);
    w->patience.data = w;
    w->told.data = w;
    int r = uv_async_init(&w->loop, &w->told, on_told);
    if (r == 0) {
        r = uv_poll_init(&w->loop, &w->master, master_fd);
    }
    if (r < 0) {
        return r;
    }
    w->master.data = w;
    return uv_poll_start(&w->master, UV_READABLE | UV_DISCONNECT, on_master_gone);
}

void leaving_obey(struct worker *w)
{
    the_worker = w;
    workersignals_stop(on_stop_signal);
    workersignals_abort();
}

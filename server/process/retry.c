/* retry.c - after a reload, when the next image of the master does not start: the workers serve on meanwhile. */
#include "server/process/retry.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/net/listener.h"
#include "server/process/daemon.h"
#include "server/process/pidfile.h"
#include "server/process/reexec.h"
#include "server/process/signals.h"
#include "server/process/title.h"

#define PAUSE_S 2
#define PATIENCE_US (UINT64_C(30) * 1000000) /* for the workers: how long they may take is not known here */
#define SLICE_NS (10 * 1000000)

static bool ends_server(int sig)
{
    return sig == SIGTERM || sig == SIGINT || sig == SIGQUIT;
}

/* The next signal of those that tell us anything; 0: none came in that time. All are blocked. */
static int wait_for_signal(const struct timespec *at_most)
{
    sigset_t orders;
    sigemptyset(&orders);
    sigaddset(&orders, SIGTERM);
    sigaddset(&orders, SIGINT);
    sigaddset(&orders, SIGQUIT);
    sigaddset(&orders, SIGHUP);
    int sig = sigtimedwait(&orders, NULL, at_most);
    return sig > 0 ? sig : 0;
}

static void signal_workers(const struct handover *h, int sig)
{
    for (size_t i = 0; i < h->n_workers; i++) {
        kill(h->workers[i].pid, sig); /* fails when it has ended: it is a zombie until we have waited for it */
    }
}

/* As the master would: the port first, and a second signal hastens it. */
static void stop(struct handover *h, int sig)
{
    title_hide();
    listeners_unlink(&h->listeners);
    listeners_close(&h->listeners);
    if (h->pidfile_fd >= 0) {
        pidfile_remove(pidfile_adopt(h->pidfile_fd, h->pidfile_path));
        h->pidfile_fd = -1;
    }
    signal_workers(h, sig == SIGTERM ? SIGTERM : SIGQUIT);
    uint64_t end = clock_mono_us() + PATIENCE_US;
    while ((waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD) && clock_mono_us() < end) {
        if (ends_server(wait_for_signal(&(struct timespec){.tv_nsec = SLICE_NS}))) {
            signal_workers(h, SIGQUIT);
        }
    }
    log_info("Shutting down: Master");
}

int retry_run(const struct launch *l, struct handover *h)
{
    signals_block(NULL);
    log_critical("The old workers serve on; the new release is tried again in %d s", PAUSE_S);
    int sig = wait_for_signal(&(struct timespec){.tv_sec = PAUSE_S});
    if (ends_server(sig)) {
        stop(h, sig);
        return 0;
    }
    int r = reexec_again(l, h);
    log_critical("The new release can't be tried again: %s; the server ends", strerror(-r));
    return 1;
}

/* retry.c - after a reload, when the next image of the master does not start: the workers serve on meanwhile. */
#include "server/process/retry.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/net/listener.h"
#include "server/process/pidfile.h"
#include "server/process/reexec.h"
#include "server/process/signals.h"
#include "server/process/systemd.h"
#include "server/process/title.h"

#define PAUSE_MIN_S 2
#define PAUSE_MAX_S 60
#define FAILED_MAX 6                 /* more need not be counted: the pause does not grow any more */
#define PATIENCE_US (30 * SECOND_US) /* for the workers: how long they may take is not known here */
#define SLICE_US (SECOND_US / 100)

static bool ends_server(int sig)
{
    return sig == SIGTERM || sig == SIGINT || sig == SIGQUIT;
}

/* The next signal of those that tell us anything; 0: none came in that time. All are blocked. */
static int wait_for_signal(uint64_t at_most_us)
{
    const struct timespec at_most = {.tv_sec = (time_t)(at_most_us / SECOND_US),
                                     .tv_nsec = (long)(at_most_us % SECOND_US * 1000)};
    sigset_t orders;
    sigemptyset(&orders);
    sigaddset(&orders, SIGTERM);
    sigaddset(&orders, SIGINT);
    sigaddset(&orders, SIGQUIT);
    sigaddset(&orders, SIGHUP);
    sigaddset(&orders, SIGCHLD);
    int sig = sigtimedwait(&orders, NULL, &at_most);
    return sig > 0 ? sig : 0;
}

/* Waits for the children that have ended. False: there are no others. A worker's end is noted, since its pid may be
 * another process's from now on: the next image must not signal it, and has its end to tell of. */
static bool reap(struct handover *h)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < h->n_workers; i++) {
            if (h->workers[i].pid == pid) {
                handover_note_end(h, &h->workers[i], status); /* a few bytes where there is room */
            }
        }
    }
    return pid == 0;
}

static size_t count_workers(const struct handover *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_workers; i++) {
        n += !h->workers[i].ended;
    }
    return n;
}

static void signal_workers(const struct handover *h, int sig)
{
    for (size_t i = 0; i < h->n_workers; i++) {
        if (!h->workers[i].ended) {
            kill(h->workers[i].pid, sig); /* one that has just ended is a zombie until we have waited for it */
        }
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
    while (reap(h) && clock_mono_us() < end) {
        if (ends_server(wait_for_signal(SLICE_US))) {
            signal_workers(h, SIGQUIT);
        }
    }
    log_info("Shutting down: Master");
}

/* The signal that came in between; 0: none that matters here. */
static int wait_seconds(struct handover *h, unsigned seconds)
{
    uint64_t watchdog = systemd_watchdog_us(), now = clock_mono_us(), end = now + seconds * SECOND_US;
    int sig = 0;
    for (reap(h); now < end && (sig == 0 || sig == SIGCHLD); now = clock_mono_us()) {
        if (watchdog > 0) {
            systemd_notify("WATCHDOG=1"); /* it would end us, and the workers with us */
        }
        sig = wait_for_signal(watchdog > 0 && watchdog < end - now ? watchdog : end - now);
        if (sig == SIGCHLD) {
            reap(h);
        }
    }
    return sig == SIGCHLD ? 0 : sig;
}

static unsigned pause_s(unsigned failed)
{
    return failed < FAILED_MAX ? PAUSE_MIN_S << (failed - 1) : PAUSE_MAX_S;
}

int retry_run(const struct launch *l, struct handover *h)
{
    const char *path;
    int r;
    signals_block(NULL);
    do {
        if (h->failed < FAILED_MAX) {
            handover_note_failed(h, h->failed + 1);
        }
        log_critical("The new release is tried again in %u s; %zu of %zu old workers serve meanwhile",
                     pause_s(h->failed), count_workers(h), h->n_workers);
        int sig = wait_seconds(h, pause_s(h->failed));
        if (ends_server(sig)) {
            stop(h, sig);
            return 0;
        }
        if (sig == SIGHUP) {
            handover_note_failed(h, 0); /* somebody has mended something, perhaps */
        }
        r = reexec_obstacle(l, &path);
        if (r < 0) {
            log_critical("The new release can't be tried: %s: %s", path, strerror(-r));
        }
    } while (r < 0);
    r = reexec_again(l, h);
    log_critical("The new release can't be tried again: %s; the server ends", strerror(-r));
    return 1;
}

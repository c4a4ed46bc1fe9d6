/* preload.c - whether the application may be loaded before workers are forked: what loading it leaves behind. */
#include "server/process/preload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/net/address.h"
#include "server/process/hooks.h"

#define SLICE_MS 100 /* between two looks at pending signals */

unsigned preload_threads(void)
{
    unsigned n = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *e; tasks && (e = readdir(tasks));) {
        n += e->d_name[0] != '.';
    }
    if (tasks) {
        closedir(tasks);
    }
    return n;
}

static void describe_peer(int fd, char *peer, size_t size)
{
    union address to = {0};
    socklen_t len = sizeof(to);
    char text[INET6_ADDRSTRLEN];
    if (getpeername(fd, &to.any, &len) == 0 && (to.any.sa_family == AF_INET || to.any.sa_family == AF_INET6)) {
        unsigned port = address_print(&to, text);
        snprintf(peer, size, "%s port %u", text, port);
    }
}

static unsigned count_sockets(char *peer, size_t size)
{
    unsigned n = 0;
    DIR *fds = opendir("/proc/self/fd");
    for (const struct dirent *e; fds && (e = readdir(fds));) {
        struct stat st;
        int fd = atoi(e->d_name);
        if (e->d_name[0] != '.' && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
            n++;
            describe_peer(fd, peer, size);
        }
    }
    if (fds) {
        closedir(fds);
    }
    return n;
}

static _Noreturn void look(int out, int (*load)(void *arg), void *arg)
{
    struct preload_finding f = {0};
    unsigned before = count_sockets(f.peer, sizeof(f.peer));
    f.peer[0] = '\0';
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    f.status = load(arg);
    unsigned threads = preload_threads(), sockets = count_sockets(f.peer, sizeof(f.peer));
    f.threads = threads > 1 ? threads - 1 : 0;
    f.sockets = sockets > before ? sockets - before : 0;
    _exit(write(out, &f, sizeof(f)) == (ssize_t)sizeof(f) ? 0 : 1);
}

static bool is_told_to_end(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1 ||
                                         sigismember(&pending, SIGQUIT) == 1);
}

static void wait_for(int in, int seconds, struct preload_finding *f)
{
    uint64_t end = clock_mono_us() + (uint64_t)seconds * 1000000;
    struct pollfd news = {.fd = in, .events = POLLIN};
    int r = 0;
    while (r <= 0 && clock_mono_us() < end && !is_told_to_end()) {
        r = poll(&news, 1, SLICE_MS);
    }
    if (r <= 0 || read(in, f, sizeof(*f)) != (ssize_t)sizeof(*f)) {
        *f = (struct preload_finding){.status = -1};
    }
}

int preload_try(struct hooks *hooks, int (*load)(void *arg), void *arg, int seconds, struct preload_finding *f)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -errno;
    }
    hooks->before_fork(hooks);
    pid_t pid = fork();
    if (pid == 0) {
        hooks->after_fork_child(hooks);
        look(ends[1], load, arg);
    }
    int r = pid < 0 ? -errno : 0;
    hooks->after_fork_parent(hooks);
    close(ends[1]);
    if (r == 0) {
        wait_for(ends[0], seconds, f);
        kill(pid, SIGKILL); /* it has said all, or it will not */
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    close(ends[0]);
    return r;
}

bool preload_is_clean(const struct preload_finding *f)
{
    return f->status == 0 && f->threads == 0 && f->sockets == 0;
}

void preload_log(const struct preload_finding *f)
{
    if (preload_is_clean(f)) {
        log_info(
            "--preload=auto: the application is loaded before workers are forked: loading it leaves no threads and "
            "no sockets behind");
    } else if (f->status < 0) {
        log_warning("--preload=auto: each worker loads the application: a trial did not come to an end");
    } else if (f->status > 0) {
        log_warning("--preload=auto: each worker loads the application: a trial could not load it");
    } else {
        log_info("--preload=auto: each worker loads the application: loading it leaves %u thread%s and %u "
                 "socket%s behind%s%s",
                 f->threads, f->threads == 1 ? "" : "s", f->sockets, f->sockets == 1 ? "" : "s",
                 f->peer[0] ? ", connected to " : "", f->peer);
    }
}

/* daemon.c - what a Unix daemon needs of its process. */
#include "server/process/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/base/which.h"
#include "server/process/hooks.h"

/* Program path */

static bool is_our_program(const char *path)
{
    struct stat a, b;
    return stat(path, &a) == 0 && stat("/proc/self/exe", &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

char *program_path(const char *argv0)
{
    char *found = strchr(argv0, '/') ? which_at(argv0, is_our_program) : which_on_path(argv0, is_our_program);
    if (found) {
        return found;
    }
    char real[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", real, sizeof(real));
    return n > 0 ? strndup(real, (size_t)n) : strdup(argv0);
}

/* Detaching */

/* What is left of the process that the user started: shows the shell whether the server is up. */
static _Noreturn void await_report(int fd)
{
    unsigned char status = 1; /* what it says when the daemon died without a word */
    ssize_t n;
    do {
        n = read(fd, &status, 1);
    } while (n < 0 && errno == EINTR);
    _exit(status);
}

int daemonize(struct hooks *hooks, int *report_fd)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    hooks->before_fork(hooks);
    pid_t pid = fork();
    int r = -errno;
    if (pid != 0) {
        hooks->after_fork_parent(hooks);
        close(fds[1]);
        if (pid > 0) {
            await_report(fds[0]);
        }
        close(fds[0]);
        return r;
    }
    setsid();
    pid = fork(); /* no leader of a session any more: it cannot get a terminal by opening one */
    r = -errno;
    if (pid > 0) {
        _exit(0);
    }
    hooks->after_fork_child(hooks);
    close(fds[0]);
    *report_fd = fds[1];
    if (pid < 0) {
        return r; /* the caller shows the error and reports its exit status to the starter */
    }
    umask(022); /* as gunicorn */
    return 0;
}

void daemon_report(int *report_fd, int status)
{
    if (*report_fd < 0) {
        return;
    }
    unsigned char byte = (unsigned char)status;
    ssize_t n;
    do {
        n = write(*report_fd, &byte, 1); /* nobody may be listening any more: SIGPIPE is ignored */
    } while (n < 0 && errno == EINTR);
    close(*report_fd);
    *report_fd = -1;
    log_echo_end();
}

/* Standard streams */

void stdio_silence(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        log_error("Can't open /dev/null: %s", strerror(errno));
        return;
    }
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++) {
        dup2(fd, i);
    }
    if (fd > STDERR_FILENO) {
        close(fd);
    }
    if (log_fd() == STDERR_FILENO) {
        log_reopen();
    }
}

/* launch.c - starts the cwsgi that lies beside this program. */
#include "server/ctl/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/runfolder.h"
#include "server/base/which.h"

char *launch_path(const char *argv0, const char *name)
{
    char *self =
        strchr(argv0, '/') ? strdup(argv0) : which_on_path(argv0, which_can_run); /* where the shell has found us */
    char *path = self ? which_beside(self, name, which_can_run) : NULL;
    free(self);
    char real[PATH_MAX];
    ssize_t n = path ? -1 : readlink("/proc/self/exe", real, sizeof(real) - 1);
    if (n > 0) {
        real[n] = '\0';
        path = which_beside(real, name, which_can_run);
    }
    return path ? path : strdup(name);
}

static _Noreturn void run(const char *cwsgi, char *const *args, size_t n, bool quiet, int starter)
{
    char number[16], **argv = calloc(n + 3, sizeof(*argv));
    snprintf(number, sizeof(number), "%d", starter);
    int null = quiet ? open("/dev/null", O_WRONLY | O_CLOEXEC) : STDOUT_FILENO;
    if (argv && dup2(null, STDOUT_FILENO) >= 0 && setenv(RUNFOLDER_START, number, 1) == 0) {
        argv[0] = (char *)cwsgi;
        argv[1] = (char *)"--daemon";
        memcpy(argv + 2, args, n * sizeof(*argv));
        execvp(cwsgi, argv);
    }
    fprintf(stderr, "cwsgictl: can't run %s: %s\n", cwsgi, strerror(errno));
    _exit(1);
}

/* The pid that it writes, or 0 when it closes the descriptor without a word. */
static long read_pid(int fd)
{
    char text[32];
    ssize_t n = read(fd, text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = '\0';
    return strtol(text, NULL, 10);
}

int launch_start(const char *cwsgi, char *const *args, size_t n, bool quiet, long *already)
{
    int ends[2], status = 1;
    *already = 0;
    if (pipe(ends) < 0) {
        fprintf(stderr, "cwsgictl: %s\n", strerror(errno));
        return 1;
    }
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        run(cwsgi, args, n, quiet, ends[1]);
    }
    int r = -errno;
    close(ends[1]);
    if (pid < 0) {
        fprintf(stderr, "cwsgictl: can't start another process: %s\n", strerror(-r));
        close(ends[0]);
        return 1;
    }
    *already = read_pid(ends[0]);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

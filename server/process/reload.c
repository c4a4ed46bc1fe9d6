/* reload.c - the gate of a reload: a trial process loads the new release. */
#include "server/process/reload.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/process/daemon.h"
#include "server/process/reexec.h"

#define SECOND_US UINT64_C(1000000)
#define MIN_SECONDS 30

/* In the child: only what is allowed between fork and exec in a process that may have threads. */
static _Noreturn void run_trial(const struct launch *l, char **argv, char **env, int output)
{
    sigset_t none;
    sigemptyset(&none);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    if (chdir(l->cwd) == 0) {
        /* Handlers become defaults by execve; until then a signal must not run them here. */
        struct sigaction by_default = {.sa_handler = SIG_DFL};
        for (int sig = 1; sig < NSIG; sig++) {
            if (sig != SIGPIPE) {
                sigaction(sig, &by_default, NULL);
            }
        }
        sigprocmask(SIG_SETMASK, &none, NULL);
        execve(l->program, argv, env);
    }
    _exit(127);
}

/* Its pid, or -errno. */
static pid_t start_trial(const struct launch *l)
{
    char **env = reexec_env(l, NULL);
    char **argv = calloc((size_t)l->argc + 2, sizeof(*argv));
    pid_t pid = -ENOMEM;
    if (env && argv) {
        argv[0] = l->argv[0];
        argv[1] = "--check-config"; /* in front: behind a "--" it would be taken for the application */
        memcpy(argv + 2, l->argv + 1, (size_t)(l->argc > 0 ? l->argc - 1 : 0) * sizeof(*argv));

        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before);
        pid = fork();
        if (pid == 0) {
            run_trial(l, argv, env, log_fd());
        }
        if (pid < 0) {
            pid = -errno;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    free(env);
    free(argv);
    return pid;
}

int reload_start(struct reload *r, uint64_t now)
{
    reload_cancel(r); /* what it tries may have changed since */
    pid_t pid = start_trial(r->launch);
    if (pid < 0) {
        return pid;
    }
    uint64_t seconds = (uint64_t)r->settings->timeout;
    r->trial = pid;
    r->end_us = now + (seconds > MIN_SECONDS ? seconds : MIN_SECONDS) * SECOND_US;
    return 0;
}

void reload_cancel(struct reload *r)
{
    if (r->trial > 0) {
        kill(r->trial, SIGKILL); /* reaped as a foreign child */
        r->trial = 0;
    }
}

bool reload_ended(struct reload *r, int status)
{
    r->trial = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    if (WIFSIGNALED(status)) {
        log_error("Reload refused: the trial of the new release was ended by signal %d; the old release keeps serving",
                  WTERMSIG(status));
    } else {
        log_error("Reload refused: the new release does not load (exit status %d); the old release keeps serving",
                  WEXITSTATUS(status));
    }
    return false;
}

void reload_watch(struct reload *r, uint64_t now)
{
    if (r->trial > 0 && now >= r->end_us) {
        log_error("The trial of the new release takes too long");
        kill(r->trial, SIGKILL); /* its end refuses the reload */
        r->end_us = UINT64_MAX;
    }
}

uint64_t reload_deadline(const struct reload *r)
{
    return r->trial > 0 ? r->end_us : 0;
}

/* reload.c - the gate of a reload: a trial process loads the new release. */
#include "server/process/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/process/daemon.h"
#include "server/process/news.h"
#include "server/process/reexec.h"

#define STACKS_US (SECOND_US / 10)    /* for a trial that takes too long to say where it stands */
#define NOT_EXECUTED 127              /* exit status of a trial that was none, as a shell's */
#define SAID_MAX ((size_t)64 * 1024)  /* that is kept */
#define TURN_MAX ((size_t)256 * 1024) /* that is read in one turn of the master */

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
    _exit(NOT_EXECUTED);
}

/* Its pid, or -errno. `out`: where it writes to. */
static pid_t start_trial(const struct launch *l, int out)
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
            run_trial(l, argv, env, out);
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

void reload_init(struct reload *r, const struct launch *launch, const struct settings *settings)
{
    *r = (struct reload){.launch = launch, .settings = settings, .out = -1};
}

void reload_finish(struct reload *r)
{
    reload_cancel(r);
    buf_finish(&r->said);
    buf_finish(&r->rest);
}

static void close_out(struct reload *r)
{
    if (r->out >= 0) {
        close(r->out);
        r->out = -1;
    }
    r->rest.len = 0;
}

int reload_seconds(const struct settings *s)
{
    return s->timeout > s->reload_timeout ? s->timeout : s->reload_timeout;
}

void reload_start(struct reload *r)
{
    int out[2];
    reload_cancel(r); /* what it tries may have changed since */
    r->number++;
    r->said.len = 0;
    if (pipe2(out, O_CLOEXEC) < 0) {
        reload_refuse(r, "can't start the trial: %s", strerror(errno));
        return;
    }
    pid_t pid = start_trial(r->launch, out[1]);
    close(out[1]);
    if (pid < 0) {
        close(out[0]);
        reload_refuse(r, "can't start the trial: %s", strerror(-pid));
        return;
    }
    fcntl(out[0], F_SETFL, O_NONBLOCK);
    r->state = RELOAD_TRYING;
    r->trial = pid;
    r->out = out[0];
    r->at_us = clock_mono_us() + (uint64_t)reload_seconds(r->settings) * SECOND_US;
}

void reload_forget(struct reload *r)
{
    r->trial = 0;
    close_out(r);
    r->state = RELOAD_NONE;
}

void reload_cancel(struct reload *r)
{
    if (r->trial > 0) {
        kill(r->trial, SIGKILL); /* reaped as a foreign child */
    }
    reload_forget(r);
}

/* Of a text that is too long the end is kept: a traceback says there what it is about. */
static void keep(struct reload *r, const char *text, size_t len)
{
    if (r->said.len + len > SAID_MAX) {
        buf_consume(&r->said, r->said.len / 2);
    }
    buf_append(&r->said, text, len); /* without memory for it the log still has it */
}

/* Into the server log as it is, since its lines are lines of a log already; only whole ones, so that no other process
 * writes into one. */
static void pass_on(struct reload *r, bool ended)
{
    const char *end = r->rest.len > 0 ? memrchr(r->rest.data, '\n', r->rest.len) : NULL;
    size_t len = end ? (size_t)(end - r->rest.data) + 1 : 0;
    if (len < r->rest.len && (ended || r->rest.len > SAID_MAX) && buf_append(&r->rest, "\n", 1) == 0) {
        len = r->rest.len;
    }
    if (len > 0) {
        log_lines(LOG_LEVEL_ERROR, r->rest.data, len);
        buf_consume(&r->rest, len);
    }
}

/* What the trial has written since. */
static void hear(struct reload *r)
{
    char text[SAID_MAX / 4];
    for (size_t heard = 0; r->out >= 0 && heard < TURN_MAX;) {
        ssize_t n = read(r->out, text, sizeof(text));
        if (n < 0) {
            return; /* nothing for now */
        }
        if (n == 0) {
            pass_on(r, true);
            close_out(r);
            return;
        }
        keep(r, text, (size_t)n);
        buf_append(&r->rest, text, (size_t)n); /* without memory for it who asked still has it */
        pass_on(r, false);
        heard += (size_t)n;
    }
}

void reload_refuse(struct reload *r, const char *format, ...)
{
    char why[256];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    char line[sizeof(why) + 80];
    int len = snprintf(line, sizeof(line), "Reload refused: %s; the old release keeps serving\n", why);
    log_error("%.*s", len - 1, line);
    keep(r, line, (size_t)len);
    r->state = RELOAD_REFUSED;
}

void reload_ended(struct reload *r, int status)
{
    const char *path;
    int e;
    r->trial = 0;
    hear(r);
    pass_on(r, true);
    close_out(r); /* what the application has started in the background may have it, too */
    if (r->state == RELOAD_LATE) {
        reload_refuse(r, "the trial of the new release takes too long");
    } else if (WIFSIGNALED(status)) {
        reload_refuse(r, "the trial of the new release was ended by signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) == NOT_EXECUTED && (e = reexec_obstacle(r->launch, &path)) < 0) {
        reload_refuse(r, "can't %s %s: %s", path == r->launch->cwd ? "enter" : "execute", path, strerror(-e));
    } else if (WEXITSTATUS(status) != 0) {
        reload_refuse(r, "the new release does not load (exit status %d)", WEXITSTATUS(status));
    } else {
        r->state = RELOAD_GOOD;
    }
}

void reload_await(const struct reload *r, struct news *news)
{
    news_add(news, r->out, POLLIN);
}

void reload_tend(struct reload *r, uint64_t now)
{
    hear(r);
    if (r->trial == 0 || now < r->at_us) {
        return;
    }
    if (r->state == RELOAD_TRYING) {
        r->state = RELOAD_LATE;
        r->at_us = now + STACKS_US;
        kill(r->trial, SIGURG); /* ignored while it cannot answer yet */
    } else {
        r->at_us = UINT64_MAX;
        kill(r->trial, SIGKILL); /* its end refuses the reload */
    }
}

uint64_t reload_deadline(const struct reload *r)
{
    return r->trial > 0 ? r->at_us : 0;
}

/* upgrade.c - USR2: a second master of the program as it is now, beside this one, on the same listening sockets. */
#include "server/process/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/process/hooks.h"
#include "server/process/reexec.h"
#include "server/process/signals.h"

void upgrade_take_over(struct upgrade *u, const struct handover *h)
{
    u->elder = h->elder;
    u->younger = h->younger;
    if (u->elder > 0) {
        prctl(PR_SET_PDEATHSIG,
              SIGCHLD); /* wakes us when it goes; one that is gone already is seen by upgrade_promoted */
    }
}

void upgrade_hand_over(const struct upgrade *u, struct handover *h)
{
    h->newborn = u->newborn;
    h->elder = u->elder;
    h->younger = u->younger;
}

static bool elder_lives(const struct upgrade *u)
{
    return u->elder > 0 && getppid() == u->elder;
}

/* It may have ended without being reaped yet. */
static bool younger_lives(const struct upgrade *u)
{
    siginfo_t info = {0};
    return u->younger > 0 && waitid(P_PID, (id_t)u->younger, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0;
}

void upgrade_ask(struct upgrade *u)
{
    if (younger_lives(u)) {
        log_warning("USR2 signal ignored. Child exists.");
    } else if (elder_lives(u)) {
        log_warning("USR2 signal ignored. Parent exists.");
    } else {
        u->asked = true;
    }
}

bool upgrade_start(struct upgrade *u, struct hooks *hooks)
{
    sigset_t before;
    pid_t elder = getpid();
    u->asked = false;
    signals_block(&before); /* the child must not run our handlers */
    hooks->before_fork(hooks);
    pid_t pid = fork();
    if (pid == 0) {
        hooks->after_fork_child(hooks);
        signals_close();
        *u = (struct upgrade){.newborn = true, .elder = elder};
        return true;
    }
    int error = errno;
    hooks->after_fork_parent(hooks);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) {
        log_error("Can't start a second master: %s", strerror(error));
        return false;
    }
    u->younger = pid;
    return false;
}

bool upgrade_ended(struct upgrade *u, pid_t pid, int status)
{
    if (pid != u->younger) {
        return false;
    }
    u->younger = 0;
    if (WIFSIGNALED(status)) {
        log_error("The second master (pid:%ld) was ended by signal %d; this one goes on", (long)pid, WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        log_error("The second master (pid:%ld) exited with status %d; this one goes on", (long)pid,
                  WEXITSTATUS(status));
    }
    return true;
}

bool upgrade_promoted(struct upgrade *u)
{
    if (u->elder == 0 || elder_lives(u)) {
        return false;
    }
    u->elder = 0;
    log_info("Master has been promoted.");
    return true;
}

pid_t upgrade_other(const struct upgrade *u)
{
    return younger_lives(u) ? u->younger : elder_lives(u) ? u->elder : 0;
}

const char *upgrade_name(const struct upgrade *u)
{
    return u->elder > 0 ? "Master" UPGRADE_SUFFIX : "Master";
}

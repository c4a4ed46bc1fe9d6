/* workersignals.c - what signals do in a worker process. */
#include "server/process/workersignals.h"

#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

static void on_nothing(int number)
{
    (void)number;
}

void workersignals_reset(void)
{
    struct sigaction nothing = {.sa_handler = on_nothing, .sa_flags = SA_RESTART}, standard = {.sa_handler = SIG_DFL};
    static const int TO_DEFAULT[] = {SIGTERM, SIGINT,  SIGQUIT, SIGUSR2, SIGTTIN,
                                     SIGTTOU, SIGCHLD, SIGALRM, SIGABRT, SIGURG};
    static const int TO_NOTHING[] = {SIGHUP, SIGWINCH, SIGUSR1};
    for (size_t i = 0; i < sizeof(TO_DEFAULT) / sizeof(TO_DEFAULT[0]); i++) {
        sigaction(TO_DEFAULT[i], &standard, NULL);
    }
    /* HUP goes to a whole group when a terminal closes: only the master acts on it. USR1 may come before we have opened
     * our logs. They are not ignored, since programs that the application starts would inherit that. */
    for (size_t i = 0; i < sizeof(TO_NOTHING) / sizeof(TO_NOTHING[0]); i++) {
        sigaction(TO_NOTHING[i], &nothing, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

void workersignals_stop(void (*handler)(int))
{
    static const int STOPS[] = {SIGTERM, SIGINT, SIGQUIT};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(STOPS) / sizeof(STOPS[0]); i++) {
        sigaction(STOPS[i], &action, NULL);
    }
}

/* A time limit is no crash: no core is written, and the exit status is gunicorn's. What the application or its hook
 * worker_abort do instead is theirs. */
static void on_abort(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code == SI_USER && info->si_pid == getppid()) {
        _exit(1);
    }
    signal(number, SIG_DFL);
    raise(number);
}

void workersignals_abort(void)
{
    struct sigaction before, action = {.sa_sigaction = on_abort, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGABRT, NULL, &before) == 0 && before.sa_handler == SIG_DFL) {
        sigaction(SIGABRT, &action, NULL);
    }
}

/* signals.c - which signals the master got. */
#include "server/process/signals.h"

#include <errno.h>
#include <stddef.h>
#include <unistd.h>

static const int HANDLED[] = {SIGQUIT, SIGINT,  SIGTERM,  SIGHUP, SIGUSR1, SIGUSR2,
                              SIGTTIN, SIGTTOU, SIGWINCH, SIGURG, SIGCHLD}; /* in the order they are obeyed */
#define N_HANDLED (sizeof(HANDLED) / sizeof(HANDLED[0]))

/* What the handler needs; there is no other way to reach it. */
static volatile sig_atomic_t came[NSIG];
static volatile sig_atomic_t wake = -1;

static void on_signal(int sig)
{
    int saved = errno;
    came[sig] = 1;
    if (write(wake, "", 1) < 0) {
        /* EAGAIN: the pipe is full, so the master wakes anyway. */
    }
    errno = saved;
}

void signals_open(int wake_fd)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    sigset_t none;
    sigfillset(&action.sa_mask);
    sigemptyset(&none);
    wake = wake_fd;
    for (size_t i = 0; i < N_HANDLED; i++) {
        sigaction(HANDLED[i], &action, NULL);
    }
    pthread_sigmask(SIG_SETMASK, &none, NULL);
}

void signals_close(void)
{
    wake = -1;
}

int signals_take(void)
{
    for (size_t i = 0; i < N_HANDLED; i++) {
        if (came[HANDLED[i]]) {
            came[HANDLED[i]] = 0;
            return HANDLED[i];
        }
    }
    return 0;
}

void signals_block(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, before);
}

void signals_suspend(void)
{
    int sig;
    signals_block(NULL);
    while ((sig = signals_take()) != 0) {
        raise(sig);
    }
}

const char *signals_name(int sig)
{
#define NAME(name) [SIG##name] = #name
    static const char *const NAMES[] = {
        NAME(ABRT),   NAME(ALRM), NAME(BUS),  NAME(CHLD),   NAME(CONT),  NAME(FPE),  NAME(HUP),  NAME(ILL),
        NAME(INT),    NAME(IO),   NAME(KILL), NAME(PIPE),   NAME(PROF),  NAME(PWR),  NAME(QUIT), NAME(SEGV),
        NAME(STKFLT), NAME(STOP), NAME(SYS),  NAME(TERM),   NAME(TRAP),  NAME(TSTP), NAME(TTIN), NAME(TTOU),
        NAME(URG),    NAME(USR1), NAME(USR2), NAME(VTALRM), NAME(WINCH), NAME(XCPU), NAME(XFSZ),
    };
#undef NAME
    return sig > 0 && (size_t)sig < sizeof(NAMES) / sizeof(NAMES[0]) ? NAMES[sig] : NULL;
}

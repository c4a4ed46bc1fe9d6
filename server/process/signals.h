/* signals.h - which signals the master got: a handler that remembers them and wakes the loop.
 * Handlers go in late, after a preloaded application may have put in its own. They may run on any thread, since a hook
 * or a preloaded application may have started some: so they write to a pipe, which a wait cannot miss. Signals are
 * blocked only around fork and execve: programs that hooks start get a clean mask. */
#pragma once

#include <signal.h>

/* Puts the handlers in and unblocks all signals. `wake_fd`: write end of a pipe, non-blocking, borrowed until
 * signals_close. */
void signals_open(int wake_fd);
void signals_close(void); /* the handlers stay, and wake nobody */

/* The next signal that came, quick stops first; 0: none. */
int signals_take(void);

/* Blocks all; *before is for pthread_sigmask. */
void signals_block(sigset_t *before);

/* Blocks all. What came and was not taken yet waits in the kernel, which keeps it over execve, until signals_open. */
void signals_suspend(void);

/* "TERM"; NULL for one that has no name, as those for real time. glibc tells it from 2.32 on only. */
const char *signals_name(int sig);

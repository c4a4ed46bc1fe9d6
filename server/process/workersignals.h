/* workersignals.h - what signals do in a worker process. Main thread.
 * SIGUSR1 is no matter of this file: the loop waits for it (worker.c). */
#pragma once

/* What a forked child does first, before Python code of the user runs: signal dispositions and mask back to default
 * (HUP, USR1 and WINCH do nothing, PIPE is ignored), PR_SET_PDEATHSIG. */
void workersignals_reset(void);

void workersignals_stop(void (*handler)(int)); /* for SIGTERM, SIGINT and SIGQUIT; one at a time */

/* A time limit, which the master tells by SIGABRT, is no crash. Nothing where somebody else handles that signal. */
void workersignals_abort(void);

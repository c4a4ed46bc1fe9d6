/* forks.h - children that the application forks by itself.
 * One that comes back from the application, by returning or raising, must not go on as if it were the worker: it shares
 * the worker's sockets, and what the kernel watches for it. Programs that are started, and children that end by
 * os._exit(), as those of multiprocessing do, never come back. */
#pragma once

#include <stdbool.h>

extern bool forks_is_child;

/* In a process that is about to run the application, and may have been forked by us. */
void forks_watch(void);

/* Ends this process, such a child: with the status of a SystemExit, with 1 and a traceback in the log for any other
 * exception, with 0 where there is none. */
void forks_end(void) __attribute__((noreturn));

/* Where the application has returned, or calls us. */
static inline void forks_check(void)
{
    if (__builtin_expect(forks_is_child, 0)) {
        forks_end();
    }
}

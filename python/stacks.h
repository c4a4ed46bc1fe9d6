/* stacks.h - where Python code stands, as text in the server log, also when it holds the interpreter for ever. */
#pragma once

#include <pthread.h>

/* In a worker, before the application is loaded: the stacks of all threads go to `fd` when SIGURG comes. Python's
 * faulthandler writes them, in the signal's handler, and needs nobody's help for it. Behind them comes a NUL, and a
 * byte to `tell_fd`, unless that is -1. */
void stacks_enable(int fd, int tell_fd);
void stacks_disable(void); /* the interpreter is about to end */

/* The same in more words, with names and source lines, `first` before the others: a thread of its own asks the
 * interpreter for them. If that does not answer, the log says so, and `first` gets SIGURG. Any thread; returns at once.
 */
void stacks_tell(pthread_t first);

/* stacks.h - where Python code stands, as text in the server log, also when it holds the interpreter for ever. */
#pragma once

/* In a worker, once the application is loaded: the stacks of all threads go to `fd` when SIGURG comes. Python's
 * faulthandler writes them, in the signal's handler. */
void stacks_enable(int fd);

/* gil.h - attach and detach threads; take and give the GIL. */
#pragma once

/* For any thread: takes the interpreter's lock, and gives it up. Must pair; the thread that started the interpreter
 * begins with it held. The first time, a thread that Python has not seen yet is made known to it: by its name, and
 * with a state that is kept until gil_forget, so that what is local to a thread lives from one request to the next. */
void gil_acquire(void);
void gil_release(void);

/* For a thread of ours that ends, and has given the lock up: what Python keeps for it is dropped. */
void gil_forget(void);

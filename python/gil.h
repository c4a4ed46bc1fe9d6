/* gil.h - attach and detach threads; take and give the GIL. */
#pragma once

/* For the main thread: gives the interpreter's lock up, and takes it back. Must pair. */
void gil_release(void);
void gil_acquire(void);

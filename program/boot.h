/* boot.h - the application is loaded: in a worker, or before workers are forked. Interpreter held. */
#pragma once

struct program;

/* --preload. After a reload a failure is left to the workers, which try again while the old ones serve; with --reload
 * they serve something else until a file changes. GO_ON, or the exit status. */
int boot_preload(struct program *p);

/* All that a worker does before its first request; `tell_fd` leads to the master. WORKER_OK or the exit status. */
int boot_worker(struct program *p, int tell_fd);

/* leaving.h - how a worker is told to stop, and what it does then (worker.h says which signal means what).
 * Part of worker.c, on its thread. */
#pragma once

#include <stdbool.h>

struct worker;

/* The loop's handles for it; `master_fd` becomes readable when the master is gone. 0 or -errno; who destroys the worker
 * closes what there is. */
int leaving_init(struct worker *w, int master_fd);

/* From now on stop signals end this worker, and time limits do so without a core: there is one in a process. */
void leaving_obey(struct worker *w);

/* No new connections; what was accepted is answered, within graceful_timeout. Nothing if it leaves already. */
void leaving_drain(struct worker *w);

bool leaving_is_done(const struct worker *w); /* nothing is left to do, or to wait for */

/* check.h - only looking: --check-config, which a reload tries the new release with, and --print-config. */
#pragma once

struct buf;
struct program;

/* Loads the application as a worker would, with its rights: files that it makes must not belong to root. One that has
 * to answer (check_path) lives through a worker's hooks, too. The exit status. Interpreter held. */
int check_run(struct program *p, struct buf *error);

/* A check has its verdict: it does not wait for threads that the application has started, which may run for ever.
 * Returns if there are none, or if this is no check. */
void check_leave(const struct program *p, int status);

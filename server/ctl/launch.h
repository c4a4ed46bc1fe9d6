/* launch.h - starts the cwsgi that lies beside this program. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The path of `name` in the folder that this program was called in, symlinks kept: a cwsgi of its virtual environment,
 * also where cron gives no PATH. Owned by the caller. NULL when memory is short. */
char *launch_path(const char *argv0, const char *name);

/* Runs cwsgi in the background with these arguments and waits until it serves, which it says to our output, unless
 * `quiet`; errors it says in any case. When such a server runs already, *already is its pid, else 0. The exit status.
 */
int launch_start(const char *cwsgi, char *const *args, size_t n, bool quiet, long *already);

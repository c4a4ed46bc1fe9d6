/* which.h - where a program lies: beside another one, or on PATH.
 * Paths that are given out begin at the root, relative ones at the current directory as the user sees it (cwd_logical).
 * They are owned by the caller; NULL: there is none that fits, or memory is short. */
#pragma once

#include <stdbool.h>

typedef bool which_fits(const char *path);

bool which_can_run(const char *path); /* that it may be executed */

char *which_at(const char *path, which_fits *fits);
char *which_beside(const char *program, const char *name, which_fits *fits); /* `program`: a path, with a slash */
char *which_on_path(const char *name, which_fits *fits);

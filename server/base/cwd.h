/* cwd.h - the current directory as the user sees it. */
#pragma once

/* As $PWD spells it, if that is the same: a path with a `current` symlink in it survives a new release. Else its real
 * path. Owned by the caller. NULL and errno when there is none, or memory is short. */
char *cwd_logical(void);
/* `path` from the root on; by the real path of the current directory. The same. */
char *cwd_absolute(const char *path);

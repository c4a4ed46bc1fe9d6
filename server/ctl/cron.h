/* cron.h - the lines of a crontab that keep a server running. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Prints them: `ctl` (absolute path of this program) is to start, in `folder`, a server with these arguments. With
 * `install` they go into the user's crontab instead, in place of what an earlier call for the same folder has put
 * there. The exit status. */
int cron_write(const char *ctl, const char *folder, char *const *args, size_t n, bool install);

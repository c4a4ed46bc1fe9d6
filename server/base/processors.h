/* processors.h - how many processors this process may use: its affinity, and what its control groups allow. */
#pragma once

int processors_usable(void); /* at least 1 */

/* The same of control groups alone, with a fraction counted as one: `root` stands for /sys/fs/cgroup, `membership` has
 * what /proc/self/cgroup has. INT_MAX when they set no limit. */
int processors_allowed(const char *root, const char *membership);

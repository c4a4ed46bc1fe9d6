/* processors.c - how many processors this process may use. */
#include "server/base/processors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The beginning of a small file as text. 0 or -errno. */
static int read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t n = read(fd, text, size - 1);
    int r = n < 0 ? -errno : 0;
    close(fd);
    text[n < 0 ? 0 : n] = '\0';
    return r;
}

/* A quota of microseconds in each period: "150000 100000" is one processor and a half. */
static int whole(long long quota, long long period)
{
    if (quota <= 0 || period <= 0) {
        return INT_MAX;
    }
    long long n = (quota + period - 1) / period;
    return n < INT_MAX ? (int)n : INT_MAX;
}

/* Version 2 has "QUOTA PERIOD" or "max PERIOD" in one file, version 1 two files, -1 for no limit. */
static int limit_of(const char *folder)
{
    char path[PATH_MAX + 32], text[64];
    long long quota = -1, period = 0;
    snprintf(path, sizeof(path), "%s/cpu.max", folder);
    if (read_text(path, text, sizeof(text)) == 0) {
        char *rest;
        quota = strtoll(text, &rest, 10); /* "max": 0 */
        period = strtoll(rest, NULL, 10);
        return whole(quota, period);
    }
    snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", folder);
    if (read_text(path, text, sizeof(text)) == 0) {
        quota = strtoll(text, NULL, 10);
    }
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
    if (read_text(path, text, sizeof(text)) == 0) {
        period = strtoll(text, NULL, 10);
    }
    return whole(quota, period);
}

/* The least that the group, or one above it, allows. A container sees its own group at the top: what is named below may
 * not be there. */
static int limit_up(const char *root, const char *group)
{
    char folder[PATH_MAX];
    int least = INT_MAX;
    int n = snprintf(folder, sizeof(folder), "%s%s", root, group);
    if (n < 0 || (size_t)n >= sizeof(folder)) {
        return INT_MAX;
    }
    for (;;) {
        int limit = limit_of(folder);
        least = limit < least ? limit : least;
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < strlen(root)) {
            return least;
        }
        *slash = '\0';
    }
}

int processors_allowed(const char *root, const char *membership)
{
    char text[8192], v1[300];
    int least = INT_MAX;
    if (read_text(membership, text, sizeof(text)) < 0) {
        return INT_MAX;
    }
    snprintf(v1, sizeof(v1), "%s/cpu", root); /* also where it is mounted together with others: a link */
    char *rest = text;
    for (const char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        const char *names = strchr(line, ':'); /* "ID:CONTROLLER,...:GROUP"; version 2: "0::GROUP" */
        const char *group = names ? strchr(names + 1, ':') : NULL;
        int limit = INT_MAX;
        if (group && group == names + 1) {
            limit = limit_up(root, group + 1);
        } else if (group && (strncmp(names, ":cpu,", 5) == 0 || strncmp(names, ":cpu:", 5) == 0 ||
                             strncmp(group - 4, ",cpu:", 5) == 0)) {
            limit = limit_up(v1, group + 1);
        }
        least = limit < least ? limit : least;
    }
    return least;
}

int processors_usable(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int allowed = processors_allowed("/sys/fs/cgroup", "/proc/self/cgroup");
    n = allowed < n ? allowed : n;
    return n > 0 ? n : 1;
}

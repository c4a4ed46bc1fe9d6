/* descriptors.c - files and sockets of this process: how many it may open, and what is to be closed. */
#include "server/base/descriptors.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPARE_MIN ((size_t)4)
#define SPARE_MAX ((size_t)64)

size_t descriptors_limit(void)
{
    struct rlimit limit;
    bool none = getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY;
    return none ? SIZE_MAX : (size_t)limit.rlim_cur;
}

static size_t count_open(void)
{
    size_t n = 0;
    DIR *fds = opendir("/proc/self/fd");
    while (fds && readdir(fds)) { /* also "." and "..", which does not matter */
        n++;
    }
    if (fds) {
        closedir(fds);
    }
    return n;
}

size_t descriptors_for_connections(size_t wanted)
{
    size_t limit = descriptors_limit(), spare = limit / 8;
    spare = spare < SPARE_MIN ? SPARE_MIN : spare > SPARE_MAX ? SPARE_MAX : spare;
    size_t taken = count_open() + spare, most = limit > taken ? limit - taken : 1;
    return most < wanted ? most : wanted;
}

void descriptors_close_from(int first)
{
    if (syscall(__NR_close_range, first, ~0U, 0) == 0) { /* glibc has a function for it from 2.34 on */
        return;
    }
    DIR *fds = opendir("/proc/self/fd"); /* before Linux 5.9, and in some sandboxes */
    struct dirent *entry;
    while (fds && (entry = readdir(fds))) {
        int fd = atoi(entry->d_name); /* "." and "..": 0 */
        if (fd >= first && fd != dirfd(fds)) {
            close(fd);
        }
    }
    if (fds) {
        closedir(fds);
    }
}

/* descriptors.c - how many files and sockets this process may open. */
#include "server/base/descriptors.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

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

/* memory.c - how much memory a process uses, as the kernel tells. */
#include "server/base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The beginning of /proc/PID/NAME as a string: "" when there is none. */
static void read_proc(pid_t pid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0) {
        close(fd);
    }
}

size_t memory_rss(pid_t pid)
{
    char text[128];
    size_t pages = 0;
    read_proc(pid, "statm", text, sizeof(text));
    return sscanf(text, "%*u %zu", &pages) == 1 ? pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

size_t memory_pss(pid_t pid)
{
    char text[512];
    size_t kib = 0;
    read_proc(pid, "smaps_rollup", text, sizeof(text));
    const char *line = strstr(text, "\nPss:");
    return line && sscanf(line, "\nPss: %zu kB", &kib) == 1 ? kib * 1024 : memory_rss(pid);
}

/* portowner.c - which process listens on a TCP port, as far as /proc tells without privileges. */
#include "server/net/portowner.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/ascii.h"
#include "server/base/buf.h"

#define TCP_LISTEN 0x0a /* in the column "st" of /proc/net/tcp */
#define COMMAND_MAX 100 /* of a command line, so much is shown */

/* The inode of the socket that listens on `port`, or 0. */
static unsigned long find_inode(const char *table, uint16_t port)
{
    unsigned long found = 0;
    char line[512];
    FILE *f = fopen(table, "re");
    if (!f) {
        return 0;
    }
    while (!found && fgets(line, sizeof(line), f)) {
        unsigned local, state;
        unsigned long inode;
        if (sscanf(line, "%*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu", &local, &state,
                   &inode) == 3 &&
            local == port && state == TCP_LISTEN) {
            found = inode;
        }
    }
    fclose(f);
    return found;
}

static int has_socket(const char *pid, unsigned long inode)
{
    char path[300], target[64], wanted[64];
    int found = 0;
    snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    DIR *dir = opendir(path);
    if (!dir) {
        return 0;
    }
    for (const struct dirent *e; !found && (e = readdir(dir));) {
        ssize_t n = readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1);
        if (n > 0) {
            target[n] = '\0';
            found = strcmp(target, wanted) == 0;
        }
    }
    closedir(dir);
    return found;
}

static int describe(const char *pid, struct buf *out)
{
    char path[64], command[COMMAND_MAX + 1];
    snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(command, 1, COMMAND_MAX, f) : 0;
    if (f) {
        fclose(f);
    }
    while (n > 0 && command[n - 1] == '\0') {
        n--;
    }
    for (size_t i = 0; i < n; i++) {
        command[i] = command[i] > ' ' && command[i] < 0x7f ? command[i] : ' ';
    }
    command[n] = '\0';
    return buf_printf(out, "process %s (%s)", pid, n ? command : "its command line is hidden") < 0 ? -1 : 0;
}

int portowner_find(uint16_t port, struct buf *out)
{
    unsigned long inode = find_inode("/proc/net/tcp", port);
    if (!inode) {
        inode = find_inode("/proc/net/tcp6", port);
    }
    DIR *dir = inode ? opendir("/proc") : NULL;
    int result = -1;
    if (!dir) {
        return -1;
    }
    /* Of a server's processes the lowest pid is most likely the master. */
    long lowest = 0;
    for (const struct dirent *e; (e = readdir(dir));) {
        long pid = ascii_is_digit(e->d_name[0]) ? strtol(e->d_name, NULL, 10) : 0;
        if (pid > 0 && (!lowest || pid < lowest) && has_socket(e->d_name, inode)) {
            lowest = pid;
        }
    }
    closedir(dir);
    if (lowest) {
        char pid[24];
        snprintf(pid, sizeof(pid), "%ld", lowest);
        result = describe(pid, out);
    }
    return result;
}

/* leftovers.c - removes what servers that were killed have left in a folder of control sockets. */
#include "server/process/leftovers.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/process/pidfile.h"

#define PID_DIGITS 7 /* of the largest that there may be */

/* "NAME-PID.pid" */
static bool is_numbered_lock(const char *name)
{
    static const char DIGITS[] = "0123456789";
    const char *dash = strrchr(name, '-');
    if (!dash || dash == name) {
        return false;
    }
    size_t n = strspn(dash + 1, DIGITS);
    return n > 0 && n <= PID_DIGITS && strcmp(dash + 1 + n, ".pid") == 0;
}

static void remove_dead(const char *folder, const char *name)
{
    char *lock = NULL, *socket = NULL;
    int stem = (int)(strlen(name) - strlen(".pid"));
    if (asprintf(&lock, "%s/%s", folder, name) < 0) {
        return;
    }
    struct pidfile *dead = pidfile_seize(lock);
    struct stat st;
    if (dead && asprintf(&socket, "%s/%.*s.sock", folder, stem, name) >= 0) {
        if (lstat(socket, &st) == 0 && (S_ISSOCK(st.st_mode) || S_ISLNK(st.st_mode))) {
            unlink(socket);
        }
        free(socket);
    }
    pidfile_remove(dead); /* after the socket: it is found by this file */
    free(lock);
}

void leftovers_remove(const char *folder)
{
    DIR *list = opendir(folder);
    for (const struct dirent *d; list && (d = readdir(list));) {
        if (is_numbered_lock(d->d_name)) {
            remove_dead(folder, d->d_name);
        }
    }
    if (list) {
        closedir(list);
    }
}

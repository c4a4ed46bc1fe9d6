/* runfolder.c - the folders where control sockets of a user's servers lie. */
#include "server/base/runfolder.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"

#define NAME_MAX_LEN 60 /* of a name that is made from an address */

static const char *home(void)
{
    const char *path = getenv("HOME");
    if (!path || path[0] != '/') {
        const struct passwd *user = getpwuid(geteuid());
        path = user ? user->pw_dir : NULL;
    }
    return path && path[0] == '/' ? path : NULL;
}

static int write_path(unsigned i, struct buf *path)
{
    const char *base;
    switch (i) {
    case 0:
        base = home();
        return base ? buf_printf(path, "%s/.cwsgi", base) : -ENOENT;
    case 1:
        base = getenv("XDG_RUNTIME_DIR");
        return base && base[0] == '/' ? buf_printf(path, "%s/cwsgi", base)
                                      : buf_printf(path, "/run/user/%u/cwsgi", (unsigned)geteuid());
    default:
        return buf_printf(path, "/tmp/cwsgi-%u", (unsigned)geteuid());
    }
}

int runfolder_open(unsigned i, bool make, struct buf *path)
{
    assert(i < RUNFOLDERS);
    struct stat st;
    int r = write_path(i, path);
    const char *z = r < 0 ? NULL : buf_cstr(path);
    if (!z) {
        return r < 0 ? r : -ENOMEM;
    }
    if (make && mkdir(z, 0700) < 0 && errno != EEXIST) {
        return -errno;
    }
    int fd = open(z, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
        close(fd);
        return -EPERM; /* in /tmp anybody may have made it */
    }
    return fd;
}

int runfolder_address(const char *path, struct sockaddr_un *address, socklen_t *len, int *folder)
{
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    *folder = -1;
    int n = snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
    const char *slash = strrchr(path, '/');
    if ((size_t)n >= sizeof(address->sun_path) && slash) {
        char *parent = strndup(path, (size_t)(slash - path) + 1);
        if (!parent) {
            return -ENOMEM;
        }
        *folder = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int r = -errno;
        free(parent);
        if (*folder < 0) {
            return r;
        }
        n = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d%s", *folder, slash);
    }
    if ((size_t)n >= sizeof(address->sun_path)) {
        if (*folder >= 0) {
            close(*folder);
            *folder = -1;
        }
        return -ENAMETOOLONG;
    }
    *len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n + 1);
    return 0;
}

int runfolder_name(const char *bind, struct buf *out)
{
    static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:";
    const char *scheme = strstr(bind, "://"), *from = scheme ? scheme + 3 : bind;
    size_t len = strlen(from), skip = len > NAME_MAX_LEN ? len - NAME_MAX_LEN : 0;
    int r = 0;
    for (const char *c = from + skip; *c && r == 0; c++) {
        r = buf_append(out, strchr(PLAIN, *c) ? c : "_", 1);
    }
    if (skip > 0 && r == 0) { /* of a long path the end; what was left out makes a difference, too */
        unsigned hash = 0;
        for (const char *c = from; *c; c++) {
            hash = hash * 31 + (unsigned char)*c;
        }
        r = buf_printf(out, "-%08x", hash);
    }
    return r;
}

/* pidfile.c - the file that holds the master's pid, and says that it lives. */
#include "server/process/pidfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/cwd.h"
#include "server/base/log.h"

struct pidfile {
    int fd;        /* owned; locked until it is released or closed */
    char *path;    /* owned; absolute */
    bool released; /* the path may belong to another process */
};

static bool names_file(const char *path, int fd)
{
    struct stat a, b;
    return stat(path, &a) == 0 && fstat(fd, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static char *absolute(const char *path)
{
    if (path[0] == '/') {
        return strdup(path);
    }
    char *cwd = cwd_logical(), *joined = NULL;
    if (cwd && asprintf(&joined, "%s/%s", cwd, path) < 0) {
        joined = NULL;
    }
    free(cwd);
    return joined;
}

/* Where there are no locks, on some network file systems: somebody with that pid runs our program. */
static bool is_living_server(long pid)
{
    struct stat own, other;
    char exe[64];
    snprintf(exe, sizeof(exe), "/proc/%ld/exe", pid);
    return pid > 0 && pid != (long)getpid() && stat(exe, &other) == 0 && stat("/proc/self/exe", &own) == 0 &&
           own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

/* 0, -EWOULDBLOCK: somebody else has it, or -errno. */
static int lock(int fd, long pid)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        return 0;
    }
    if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL) {
        return is_living_server(pid) ? -EWOULDBLOCK : 0;
    }
    return -errno;
}

/* The file at `path` with its lock, so that of two that start at once only one goes on. The descriptor, or -errno;
 * -EWOULDBLOCK: somebody lives, and *pid is what he wrote. */
static int lock_path(const char *path, int flags, long *pid)
{
    for (;;) {
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0644);
        if (fd < 0) {
            return -errno;
        }
        char text[32];
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        *pid = strtol(text, NULL, 10);
        int r = lock(fd, *pid);
        if (r < 0) {
            close(fd);
            return r;
        }
        if (names_file(path, fd)) {
            return fd;
        }
        close(fd); /* replaced or removed between open and lock: look again */
    }
}

/* Makes a file of another name, locked, with our pid. Its descriptor or -errno; *temp is owned by the caller. */
static int write_locked(const char *path, char **temp)
{
    if (asprintf(temp, "%s.XXXXXX", path) < 0) {
        *temp = NULL;
        return -ENOMEM;
    }
    int fd = mkostemp(*temp, O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (lock(fd, 0) < 0 || fchmod(fd, 0644) < 0 || dprintf(fd, "%ld\n", (long)getpid()) < 0) {
        int r = -errno;
        unlink(*temp);
        close(fd);
        return r;
    }
    return fd;
}

/* Gives the locked file `from` the name `path`, where nobody's may be that lives: in one step for readers, who never
 * see it empty. 0 or -errno, *pid as from lock_path. */
static int move_locked(const char *from, const char *path, long *pid)
{
    for (;;) {
        if (link(from, path) == 0) {
            unlink(from);
            return 0;
        }
        bool no_links = errno != EEXIST; /* some file systems have none: a name is made to be locked and replaced */
        int guard = lock_path(path, no_links ? O_CREAT : 0, pid);
        if (guard == -ENOENT && !no_links) {
            continue; /* it went away meanwhile */
        }
        if (guard < 0) {
            return guard;
        }
        int r = rename(from, path) < 0 ? -errno : 0;
        if (r < 0) {
            unlink(path); /* under our lock: it was made by us, or was stale */
        }
        close(guard);
        return r;
    }
}

int pidfile_create(struct pidfile **out, const char *path, struct pidfile *old, long *other, struct buf *error)
{
    long pid = 0;
    int r = -ENOMEM;
    char *temp = NULL;
    struct pidfile *p = calloc(1, sizeof(*p));
    char *full = absolute(path);
    if (!p || !full) {
        goto fail;
    }
    if (old && strcmp(old->path, full) == 0 && names_file(full, old->fd)) {
        free(full);
        free(p);
        *out = old;
        return 0;
    }

    p->fd = r = write_locked(full, &temp);
    if (r < 0) {
        goto fail;
    }
    r = move_locked(temp, full, &pid);
    if (r < 0) {
        unlink(temp);
        close(p->fd);
        goto fail;
    }
    p->path = full;
    free(temp);
    pidfile_remove(old);
    *out = p;
    return 0;

fail:
    if (r == -EWOULDBLOCK) {
        buf_printf(error, "Already running on PID %ld (or pid file '%s' is stale)", pid, path);
    } else {
        buf_printf(error, "Can't write the pid file '%s': %s", path, strerror(-r));
    }
    pidfile_remove(old);
    free(temp);
    free(full);
    free(p);
    if (other) {
        *other = pid;
    }
    return r;
}

void pidfile_refresh(const struct pidfile *p)
{
    if (p &&
        (ftruncate(p->fd, 0) < 0 || lseek(p->fd, 0, SEEK_SET) < 0 || dprintf(p->fd, "%ld\n", (long)getpid()) < 0)) {
        log_warning("Can't write the pid file '%s': %s", p->path, strerror(errno));
    }
}

int pidfile_move(struct pidfile *p, const char *path)
{
    long pid = 0;
    char *copy = strdup(path);
    int r = copy ? move_locked(p->path, path, &pid) : -ENOMEM;
    if (r < 0) {
        free(copy);
        return r;
    }
    free(p->path);
    p->path = copy;
    return 0;
}

int pidfile_promote(struct pidfile *p, const char *suffix, struct buf *error)
{
    size_t len = strlen(p->path), cut = strlen(suffix);
    if (len <= cut || strcmp(p->path + len - cut, suffix) != 0) {
        return 0;
    }
    char *path = strndup(p->path, len - cut);
    int r = path ? pidfile_move(p, path) : -ENOMEM;
    free(path);
    if (r < 0) {
        buf_printf(error, "The pid file stays %s: %s", p->path, strerror(-r));
        return -1;
    }
    return 0;
}

struct pidfile *pidfile_adopt(int fd, const char *path)
{
    struct pidfile *p = calloc(1, sizeof(*p));
    char *copy = strdup(path);
    if (!p || !copy) {
        free(p);
        free(copy);
        return NULL;
    }
    *p = (struct pidfile){.fd = fd, .path = copy};
    return p;
}

struct pidfile *pidfile_seize(const char *path)
{
    char digit;
    struct stat st;
    struct pidfile *p = NULL;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return NULL;
    }
    bool dead = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && pread(fd, &digit, 1, 0) == 1 && digit >= '1' &&
                digit <= '9' && flock(fd, LOCK_EX | LOCK_NB) == 0 && names_file(path, fd);
    if (!dead || !(p = pidfile_adopt(fd, path))) {
        close(fd);
    }
    return p;
}

void pidfile_clear(const struct pidfile *p, const char *suffix)
{
    char *path = NULL;
    if (p && asprintf(&path, "%s%s", p->path, suffix) >= 0) {
        pidfile_remove(pidfile_seize(path));
        free(path);
    }
}

int pidfile_fd(const struct pidfile *p)
{
    return p ? p->fd : -1;
}

const char *pidfile_path(const struct pidfile *p)
{
    return p ? p->path : NULL;
}

void pidfile_release(struct pidfile *p)
{
    if (p) {
        p->released = true;
        flock(p->fd, LOCK_UN);
    }
}

/* Of a file that was released the lock is needed again: else another process may replace it between look and unlink. */
static bool is_ours(const struct pidfile *p)
{
    return (!p->released || lock(p->fd, 0) == 0) && names_file(p->path, p->fd);
}

void pidfile_remove(struct pidfile *p)
{
    if (p && is_ours(p)) {
        unlink(p->path);
    }
    pidfile_forget(p);
}

void pidfile_forget(struct pidfile *p)
{
    if (p) {
        close(p->fd);
        free(p->path);
        free(p);
    }
}

/* linefd.c - a descriptor that takes whole lines, and makes nobody wait. */
#include "server/base/linefd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 8 /* to open a path that is being rotated just now */

/* Opening */

int linefd_make_parents(const char *path)
{
    char *copy = strdup(path);
    if (!copy) {
        return -ENOMEM;
    }
    int r = 0;
    for (char *p = strchr(copy + 1, '/'); p && r == 0; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST) {
            r = -errno;
        }
        *p = '/';
    }
    free(copy);
    return r;
}

/* A named pipe that is opened for reading, too, is there without a reader, and never broken. */
static int open_once(const char *path)
{
    int flags = O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    struct stat st;
    bool fifo = stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
    int fd = open(path, flags | (fifo ? O_RDWR : O_WRONLY), 0666);
    return fd < 0 ? -errno : fd;
}

int linefd_open_file(const char *path)
{
    for (int i = 0; i < TRIES; i++) {
        int fd = open_once(path);
        if (fd == -ENOENT && path[0] != '\0') {
            int r = linefd_make_parents(path);
            if (r < 0) {
                return r;
            }
            fd = open_once(path);
        }
        if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
            return fd; /* without locks where a file system has none */
        }
        close(fd); /* it was moved away between the two calls, and somebody is at work on it already */
    }
    return -EBUSY;
}

static void look_at(struct linefd *l)
{
    struct stat st;
    l->is_file = l->is_socket = false;
    l->pipe_size = 0;
    if (fstat(l->fd, &st) < 0) {
        return;
    }
    l->is_file = S_ISREG(st.st_mode);
    l->is_socket = S_ISSOCK(st.st_mode);
    int size = S_ISFIFO(st.st_mode) ? fcntl(l->fd, F_GETPIPE_SZ) : 0;
    l->pipe_size = size > 0 ? (size_t)size : 0;
}

void linefd_own(struct linefd *l, int fd)
{
    *l = (struct linefd){.fd = fd, .owned = true};
    look_at(l);
}

/* Switching a shared description to non-blocking would surprise all who share it: the shell, the application's print().
 * So we get one of our own for the same pipe or terminal, where the system allows that. */
void linefd_borrow(struct linefd *l, int fd)
{
    char self[64];
    *l = (struct linefd){.fd = fd};
    look_at(l);
    if (l->is_file || l->is_socket || (l->pipe_size == 0 && !isatty(fd))) {
        return;
    }
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    int mine = open(self, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (mine >= 0) {
        l->fd = mine;
        l->owned = true;
    } else {
        int flags = fcntl(fd, F_GETFL);
        l->asks = flags < 0 || !(flags & O_NONBLOCK);
    }
}

void linefd_borrow_again(struct linefd *l, int fd)
{
    struct linefd new;
    linefd_borrow(&new, fd);
    if (l->owned && dup3(new.fd, l->fd, O_CLOEXEC) >= 0) {
        int keep = l->fd;
        linefd_close(&new);
        *l = (struct linefd){.fd = keep, .owned = true};
        look_at(l);
        l->asks = !l->is_file && !(fcntl(keep, F_GETFL) & O_NONBLOCK);
    } else {
        *l = new;
    }
}

void linefd_close(struct linefd *l)
{
    if (l->owned) {
        close(l->fd);
    }
    *l = (struct linefd){.fd = -1};
}

bool linefd_is_stale(const struct linefd *l, const char *path)
{
    struct stat now, ours;
    if (fstat(l->fd, &ours) < 0) {
        return false;
    }
    return stat(path, &now) < 0 ? errno == ENOENT || errno == ENOTDIR
                                : now.st_dev != ours.st_dev || now.st_ino != ours.st_ino;
}

/* Writing */

static ssize_t write_once(const struct linefd *l, const char *data, size_t len)
{
    ssize_t n;
    do {
        n = l->is_socket ? send(l->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) : write(l->fd, data, len);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* So many bytes that end with a line. */
static size_t whole_lines(const char *data, size_t len)
{
    const char *end = len > 0 ? memrchr(data, '\n', len) : NULL;
    return end ? (size_t)(end - data) + 1 : 0;
}

/* The disk became full within a line, `torn` bytes of which are in the file. Another process may write behind them at
 * any time: so they are not cut off but made empty lines, if they are still where we think they are. */
static void blot_out(const struct linefd *l, const char *torn, size_t len)
{
    char self[64], *there = malloc(len);
    off_t end = lseek(l->fd, 0, SEEK_CUR); /* O_APPEND has set it */
    snprintf(self, sizeof(self), "/proc/self/fd/%d", l->fd);
    int fd = open(self, O_RDWR | O_CLOEXEC | O_NOCTTY); /* pwrite would append with O_APPEND */
    if (there && fd >= 0 && end >= (off_t)len && pread(fd, there, len, end - (off_t)len) == (ssize_t)len &&
        memcmp(there, torn, len) == 0) {
        memset(there, '\n', len);
        if (pwrite(fd, there, len, end - (off_t)len) < 0) {
            /* the line stays torn */
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    free(there);
}

static size_t write_file(struct linefd *l, const char *data, size_t len, int *error)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write_once(l, data + done, len - done);
        if (n < 0) {
            *error = (int)n;
            break;
        }
        done += (size_t)n;
    }
    size_t whole = whole_lines(data, done);
    if (done < len && whole < done) {
        blot_out(l, data + whole, done - whole);
    }
    return done < len ? whole : len;
}

/* How many bytes at the beginning go in at once. */
static size_t piece_of(const char *data, size_t len)
{
    if (len <= PIPE_BUF) {
        return len;
    }
    size_t whole = whole_lines(data, PIPE_BUF);
    if (whole > 0) {
        return whole;
    }
    const char *end = memchr(data, '\n', len); /* one long line */
    return end ? (size_t)(end - data) + 1 : len;
}

static bool has_room(const struct linefd *l, size_t len)
{
    int waiting = 0;
    struct pollfd p = {.fd = l->fd, .events = POLLOUT};
    if (l->asks && (poll(&p, 1, 0) != 1 || !(p.revents & (POLLOUT | POLLERR | POLLHUP)))) {
        return false;
    }
    if (l->pipe_size == 0 || (p.revents & POLLERR)) {
        return true;
    }
    /* Linux fills a pipe in one go while there is room, whatever the length. Half of it may be taken by small pages
     * that are not full, and by others who write at this moment. */
    return ioctl(l->fd, FIONREAD, &waiting) == 0 && (size_t)waiting + len <= l->pipe_size / 2;
}

static size_t write_pieces(struct linefd *l, const char *data, size_t len, int *error)
{
    size_t done = 0;
    while (done < len) {
        size_t piece = piece_of(data + done, len - done);
        bool is_long = piece > PIPE_BUF && l->pipe_size > 0;
        if (is_long && piece > l->pipe_size / 2) {
            *error = -EMSGSIZE;
            break;
        }
        if ((l->asks || is_long) && !has_room(l, piece)) {
            *error = -EAGAIN;
            break;
        }
        ssize_t n = write_once(l, data + done, piece);
        if (n < 0) {
            *error = n == -EWOULDBLOCK ? -EAGAIN : (int)n;
            break;
        }
        done += (size_t)n;
    }
    return done;
}

size_t linefd_write(struct linefd *l, const char *data, size_t len, int *error)
{
    return (l->is_file ? write_file : write_pieces)(l, data, len, error);
}

/* body.c - one request body, received whole before the application runs. */
#include "server/http/body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/buf.h"

struct body {
    struct buf mem; /* all of it, while fd is -1 */
    int fd;         /* owned: the unlinked file that holds all of it; -1: in memory */
    uint64_t len;
    size_t mem_max;
    const char *tmp_dir; /* borrowed */
};

struct body *body_create(size_t mem_max, const char *tmp_dir)
{
    struct body *b = calloc(1, sizeof(*b));
    if (b) {
        b->fd = -1;
        b->mem_max = mem_max;
        b->tmp_dir = tmp_dir;
    }
    return b;
}

void body_destroy(struct body *b)
{
    if (!b) {
        return;
    }
    if (b->fd >= 0) {
        close(b->fd);
    }
    buf_finish(&b->mem);
    free(b);
}

static int write_at(int fd, const char *data, size_t len, uint64_t offset)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        data += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

/* A file without a name: O_TMPFILE, or mkostemp and unlink on file systems that lack it. fd or -errno. */
static int open_unlinked(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)) {
        return fd < 0 ? -errno : fd;
    }
    char path[4096];
    size_t n = strlen(dir);
    if (n > sizeof(path) - sizeof("/cwsgi-XXXXXX")) {
        return -ENAMETOOLONG;
    }
    memcpy(path, dir, n);
    memcpy(path + n, "/cwsgi-XXXXXX", sizeof("/cwsgi-XXXXXX"));
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    unlink(path);
    return fd;
}

/* Moves the bytes to a temporary file. On failure the body is as it was. */
static int spill(struct body *b)
{
    int fd = open_unlinked(b->tmp_dir);
    if (fd < 0) {
        return fd;
    }
    int r = write_at(fd, b->mem.data, b->mem.len, 0);
    if (r < 0) {
        close(fd);
        return r;
    }
    buf_finish(&b->mem);
    b->fd = fd;
    return 0;
}

int body_append(struct body *b, const void *data, size_t len)
{
    int r = 0;
    if (b->fd < 0 && b->mem.len + len > b->mem_max) {
        r = spill(b);
    }
    if (r == 0) {
        r = b->fd < 0 ? buf_append(&b->mem, data, len) : write_at(b->fd, data, len, b->len);
    }
    if (r == 0) {
        b->len += len;
    }
    return r;
}

uint64_t body_len(const struct body *b)
{
    return b ? b->len : 0;
}

const char *body_view(const struct body *b)
{
    return b && b->fd < 0 ? b->mem.data : NULL;
}

ssize_t body_pread(const struct body *b, uint64_t offset, void *dst, size_t max)
{
    if (!b || offset >= b->len) {
        return 0;
    }
    if (max > b->len - offset) {
        max = (size_t)(b->len - offset);
    }
    if (b->fd < 0) {
        memcpy(dst, b->mem.data + offset, max);
        return (ssize_t)max;
    }
    for (;;) {
        ssize_t n = pread(b->fd, dst, max, (off_t)offset);
        if (n >= 0) {
            return n;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

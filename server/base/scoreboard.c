/* scoreboard.c - a shared page, one slot a worker. */
#include "server/base/scoreboard.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the file begins with, one slot's room: a new image of the master may be another build. */
struct head {
    uint64_t magic;
    uint64_t slot_size;
};

#define MAGIC UINT64_C(0x6377736769303031) /* "cwsgi001": the last digits count changes of struct slot's meaning */

union cell {
    struct head head;
    struct slot slot;
};

struct scoreboard {
    int fd;            /* owned */
    size_t n;          /* slots, the head not counted */
    union cell *cells; /* mapping of n + 1 */
};

static size_t bytes(size_t slots)
{
    return (slots + 1) * sizeof(union cell);
}

/* Maps `slots` of the file in place of the mapping that was there. */
static int map(struct scoreboard *sb, size_t slots)
{
    void *p = mmap(NULL, bytes(slots), PROT_READ | PROT_WRITE, MAP_SHARED, sb->fd, 0);
    if (p == MAP_FAILED) {
        return -errno;
    }
    if (sb->cells) {
        munmap(sb->cells, bytes(sb->n));
    }
    sb->cells = p;
    sb->n = slots;
    return 0;
}

int scoreboard_create(struct scoreboard **out, size_t slots)
{
    assert(slots >= 1);
    struct scoreboard *sb = calloc(1, sizeof(*sb));
    if (!sb) {
        return -ENOMEM;
    }
    int r = 0;
    sb->fd = memfd_create("cwsgi-scoreboard", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* Sealed against shrinking: no worker can take the pages away under the master. */
    if (sb->fd < 0 || fcntl(sb->fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
        r = -errno;
    } else {
        r = scoreboard_grow(sb, slots);
    }
    if (r < 0) {
        scoreboard_destroy(sb);
        return r;
    }
    assert(sb->cells);
    sb->cells->head = (struct head){.magic = MAGIC, .slot_size = sizeof(struct slot)};
    *out = sb;
    return 0;
}

int scoreboard_adopt(struct scoreboard **out, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (st.st_size < (off_t)bytes(1)) {
        return -EINVAL;
    }
    struct scoreboard *sb = calloc(1, sizeof(*sb));
    if (!sb) {
        return -ENOMEM;
    }
    sb->fd = fd;
    int r = map(sb, (size_t)st.st_size / sizeof(union cell) - 1);
    assert(r < 0 || sb->cells);
    if (r == 0 && (sb->cells->head.magic != MAGIC || sb->cells->head.slot_size != sizeof(struct slot))) {
        r = -EINVAL;
    }
    if (r == 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        r = -errno;
    }
    if (r < 0) {
        sb->fd = -1; /* still the caller's */
        scoreboard_destroy(sb);
        return r;
    }
    *out = sb;
    return 0;
}

int scoreboard_grow(struct scoreboard *sb, size_t slots)
{
    assert(slots >= sb->n);
    if (ftruncate(sb->fd, (off_t)bytes(slots)) < 0) {
        return -errno;
    }
    return map(sb, slots); /* a longer file behind a failed mapping does no harm: the next image sees free slots */
}

void scoreboard_destroy(struct scoreboard *sb)
{
    if (!sb) {
        return;
    }
    if (sb->cells) {
        munmap(sb->cells, bytes(sb->n));
    }
    if (sb->fd >= 0) {
        close(sb->fd);
    }
    free(sb);
}

int scoreboard_fd(const struct scoreboard *sb)
{
    return sb->fd;
}

size_t scoreboard_size(const struct scoreboard *sb)
{
    return sb->n;
}

struct slot *scoreboard_slot(struct scoreboard *sb, size_t i)
{
    assert(i < sb->n);
    return &sb->cells[i + 1].slot;
}

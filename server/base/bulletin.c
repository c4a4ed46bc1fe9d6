/* bulletin.c - a text that the master changes now and then. */
#include "server/base/bulletin.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/memfile.h"

#define MAGIC UINT64_C(0x6377736762303031) /* "cwsgb001" */
#define TEXT_AT 4096                       /* in the file, behind the page with the head */

struct head {
    uint64_t magic;
    _Atomic uint64_t number; /* of the text, always even; odd while it is being changed; 0: there is none */
    _Atomic uint64_t len;
};

struct bulletin {
    int fd;            /* owned */
    struct head *head; /* mapping of the first page */
};

static int map(struct bulletin *b)
{
    void *p = mmap(NULL, TEXT_AT, PROT_READ | PROT_WRITE, MAP_SHARED, b->fd, 0);
    if (p == MAP_FAILED) {
        return -errno;
    }
    b->head = p;
    return 0;
}

int bulletin_create(struct bulletin **out)
{
    struct bulletin *b = calloc(1, sizeof(*b));
    if (!b) {
        return -ENOMEM;
    }
    b->fd = memfile_create("cwsgi-bulletin", TEXT_AT);
    int r = b->fd < 0 ? b->fd : map(b);
    if (r < 0) {
        bulletin_destroy(b);
        return r;
    }
    assert(b->head);
    b->head->magic = MAGIC;
    *out = b;
    return 0;
}

int bulletin_adopt(struct bulletin **out, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (st.st_size < TEXT_AT) {
        return -EINVAL;
    }
    struct bulletin *b = calloc(1, sizeof(*b));
    if (!b) {
        return -ENOMEM;
    }
    b->fd = fd;
    int r = map(b);
    assert(r < 0 || b->head);
    if (r == 0 && b->head->magic != MAGIC) {
        r = -EINVAL;
    }
    if (r < 0) {
        b->fd = -1; /* still the caller's */
        bulletin_destroy(b);
        return r;
    }
    *out = b;
    return 0;
}

void bulletin_destroy(struct bulletin *b)
{
    if (!b) {
        return;
    }
    if (b->head) {
        munmap(b->head, TEXT_AT);
    }
    if (b->fd >= 0) {
        close(b->fd);
    }
    free(b);
}

int bulletin_fd(const struct bulletin *b)
{
    return b->fd;
}

/* A reader that sees the same even number before and after has read one text, not parts of two. */
int bulletin_put(struct bulletin *b, const void *data, size_t len, uint64_t *number)
{
    uint64_t odd = atomic_load(&b->head->number) | 1;
    const char *p = data;
    size_t done = 0;
    atomic_store(&b->head->number, odd);
    atomic_store(&b->head->len, 0);
    int r = 0;
    while (r == 0 && done < len) {
        ssize_t n = pwrite(b->fd, p + done, len - done, (off_t)(TEXT_AT + done));
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno != EINTR) {
            r = -errno;
        }
    }
    if (r == 0) { /* else nobody reads what is half there */
        atomic_store(&b->head->len, len);
        *number = odd + 1;
        atomic_store(&b->head->number, *number);
    }
    return r;
}

bool bulletin_is_new(const struct bulletin *b, uint64_t seen)
{
    uint64_t number = atomic_load_explicit(&b->head->number, memory_order_relaxed);
    return number != seen && !(number & 1);
}

int bulletin_get(const struct bulletin *b, struct buf *out, uint64_t *seen)
{
    uint64_t number = atomic_load(&b->head->number);
    size_t len = atomic_load(&b->head->len), done = 0, before = out->len;
    int r = number & 1 ? -EAGAIN : buf_reserve(out, len);
    while (r == 0 && done < len) {
        ssize_t n = pread(b->fd, out->data + before + done, len - done, (off_t)(TEXT_AT + done));
        if (n > 0) {
            done += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            r = n == 0 ? -EAGAIN : -errno;
        }
    }
    if (r == 0 && atomic_load(&b->head->number) != number) {
        r = -EAGAIN;
    }
    if (r == 0) {
        out->len = before + len;
        *seen = number;
    }
    return r;
}

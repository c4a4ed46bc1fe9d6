/* chunk.c - pieces of output, and queues of them. */
#include "server/net/chunk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void chunk_release(const struct chunk *c)
{
    if (c->release) {
        c->release(c->owner);
    }
}

void chunk_advance(struct chunk *c, size_t n)
{
    assert(n <= c->len);
    c->len -= n;
    if (c->fd >= 0) {
        c->offset += (off_t)n;
    } else {
        c->data += n;
    }
}

ssize_t chunk_peek(const struct chunk *c, char *dst, size_t max)
{
    size_t want = c->len < max ? c->len : max;
    if (c->fd < 0) {
        memcpy(dst, c->data, want);
        return (ssize_t)want;
    }
    ssize_t n;
    do {
        n = pread(c->fd, dst, want, c->offset);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? n : n < 0 ? -errno : -EIO;
}

int chunkq_push(struct chunkq *q, const struct chunk *c)
{
    if (q->n == q->cap && q->head >= q->cap / 2 && q->head > 0) {
        q->n -= q->head; /* the front is free: no need to grow */
        memmove(q->v, q->v + q->head, q->n * sizeof(*q->v));
        q->head = 0;
    }
    if (q->n == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 4;
        struct chunk *v = realloc(q->v, cap * sizeof(*v));
        if (!v) {
            return -ENOMEM;
        }
        q->v = v;
        q->cap = cap;
    }
    q->v[q->n++] = *c;
    q->bytes += c->len;
    return 0;
}

struct chunk chunkq_pop(struct chunkq *q)
{
    assert(q->head < q->n);
    struct chunk c = q->v[q->head++];
    q->bytes -= c.len;
    return c;
}

void chunkq_drop(struct chunkq *q)
{
    while (q->head < q->n) {
        chunk_release(&q->v[q->head++]);
    }
    q->head = q->n = q->bytes = 0;
}

void chunkq_finish(struct chunkq *q)
{
    chunkq_drop(q);
    free(q->v);
    *q = (struct chunkq){0};
}

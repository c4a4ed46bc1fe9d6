/* chunk.h - a piece of output: bytes in somebody's memory, a range of a file, or a mere marker.
 * Nothing is copied on the way: a chunk is lent until `release` is called, exactly once, on the loop thread, when
 * its last byte was taken by the socket (or the TLS layer), or when the connection broke. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct chunk {
    const char *data;             /* lent; NULL in a file range or a marker */
    size_t len;                   /* bytes; 0 in a marker */
    int fd;                       /* borrowed until release; -1 unless this is a range of a file */
    off_t offset;                 /* of the range in the file */
    void (*release)(void *owner); /* NULL: nothing to release. Must not fail and must not call back into conn. */
    void *owner;
};

void chunk_release(const struct chunk *c);     /* calls release, if there is one */
void chunk_advance(struct chunk *c, size_t n); /* the first `n` bytes are done with; n <= len */
/* Copies up to `max` bytes from the front without advancing: how many (> 0), or -errno; -EIO when the file has become
 * shorter than the range. */
ssize_t chunk_peek(const struct chunk *c, char *dst, size_t max);

/* A queue of chunks, which it owns until they are popped. A zeroed struct is an empty queue. */
struct chunkq {
    struct chunk *v; /* owned */
    size_t head, n;  /* v[head..n) are in the queue */
    size_t cap;
    size_t bytes; /* of all chunks in the queue */
};

static inline bool chunkq_is_empty(const struct chunkq *q)
{
    return q->head == q->n;
}

int chunkq_push(struct chunkq *q, const struct chunk *c); /* 0, or -ENOMEM: then it is still the caller's */
struct chunk chunkq_pop(struct chunkq *q);                /* the queue is not empty; the caller's from now on */
void chunkq_drop(struct chunkq *q);                       /* releases all; the memory is kept */
void chunkq_finish(struct chunkq *q);                     /* the same, and frees the memory */

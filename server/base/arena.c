/* arena.c - memory that dies with its exchange. */
#include "server/base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* One block holds the whole of a usual request: head, header index, response head. */
#define BLOCK_SIZE 8192

struct arena_block {
    struct arena_block *next; /* owned */
    size_t used;
    size_t size;
    alignas(max_align_t) char bytes[];
};

static struct arena_block *block_new(size_t size)
{
    struct arena_block *b = malloc(sizeof(*b) + size);
    if (b) {
        b->next = NULL;
        b->used = 0;
        b->size = size;
    }
    return b;
}

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

static void free_from(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void arena_reset(struct arena *a)
{
    if (a->first) {
        free_from(a->first->next);
        a->first->next = NULL;
        a->first->used = 0;
        a->current = a->first;
    }
}

void arena_finish(struct arena *a)
{
    free_from(a->first);
    *a = (struct arena){0};
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t align = alignof(max_align_t);
    if (size > (size_t)-1 / 2) {
        return NULL;
    }
    size = (size + align - 1) & ~(align - 1);
    struct arena_block *b = a->current;
    if (!b || b->size - b->used < size) {
        struct arena_block *fresh = block_new(size > BLOCK_SIZE ? size : BLOCK_SIZE);
        if (!fresh) {
            return NULL;
        }
        if (b && size > BLOCK_SIZE) {
            /* A large piece of its own: what is left of the current block stays in use. */
            fresh->next = b->next;
            b->next = fresh;
            fresh->used = size;
            return fresh->bytes;
        }
        if (b) {
            fresh->next = b->next;
            b->next = fresh;
        } else {
            a->first = fresh;
        }
        a->current = b = fresh;
    }
    void *p = b->bytes + b->used;
    b->used += size;
    return p;
}

char *arena_dup(struct arena *a, const void *data, size_t len)
{
    if (len == (size_t)-1) {
        return NULL;
    }
    char *p = arena_alloc(a, len + 1);
    if (p) {
        if (len > 0) {
            memcpy(p, data, len);
        }
        p[len] = '\0';
    }
    return p;
}

/* strict_arena.c - the arena with a malloc for each piece, so that the sanitizer sees every byte read beyond its end.
 * Linked in front of the library, it takes the place of arena.c. */
#include "server/base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *next; /* owned */
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    while (a->first) {
        struct arena_block *next = a->first->next;
        free(a->first);
        a->first = next;
    }
}

void arena_finish(struct arena *a)
{
    arena_reset(a);
}

void *arena_alloc(struct arena *a, size_t size)
{
    struct arena_block *b = size < (size_t)-1 / 2 ? malloc(sizeof(*b) + size) : NULL;
    if (!b) {
        return NULL;
    }
    b->next = a->first;
    a->first = b;
    return b->bytes;
}

char *arena_dup(struct arena *a, const void *data, size_t len)
{
    char *p = len < (size_t)-1 ? arena_alloc(a, len + 1) : NULL;
    if (p) {
        if (len > 0) {
            memcpy(p, data, len);
        }
        p[len] = '\0';
    }
    return p;
}

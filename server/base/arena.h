/* arena.h - memory that dies with its exchange.
 * Blocks are handed out and never freed one by one; arena_reset keeps the first block for the next user. */
#pragma once

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *first;   /* owned; kept over arena_reset */
    struct arena_block *current; /* in the list that starts at first */
};

void arena_init(struct arena *a); /* allocates nothing yet */
void arena_reset(struct arena *a);
void arena_finish(struct arena *a);

/* `size` bytes, aligned for any type, or NULL when memory is short. */
void *arena_alloc(struct arena *a, size_t size);

/* A copy of `len` bytes with a NUL behind them, or NULL. */
char *arena_dup(struct arena *a, const void *data, size_t len);

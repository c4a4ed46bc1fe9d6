/* body.h - one request body, received whole before the application runs.
 * Small bodies stay in memory; past `mem_max` they move to an unlinked temporary file. Filled on the loop thread,
 * then lent to one app thread, which only reads; never both at once. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct body; /* opaque */

/* tmp_dir: borrowed, must outlive the body. NULL when memory is short. */
struct body *body_create(size_t mem_max, const char *tmp_dir);
void body_destroy(struct body *b); /* NULL is fine */

int body_append(struct body *b, const void *data, size_t len); /* copies; 0 or -errno, and then nothing was added */

uint64_t body_len(const struct body *b); /* NULL is an empty body */

/* The bytes where they lie (body_len of them), valid as long as the body; NULL when they are in a file or empty. */
const char *body_view(const struct body *b);

/* Up to `max` bytes from `offset`, from memory or file: how many (0 at the end), or -errno. NULL is an empty body. */
ssize_t body_pread(const struct body *b, uint64_t offset, void *dst, size_t max);

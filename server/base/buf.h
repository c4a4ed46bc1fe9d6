/* buf.h - growable bytes.
 * A zeroed struct is an empty buffer. Owns its memory; not for sharing between threads. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

struct buf {
    char *data; /* owned; NULL while nothing was reserved */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
};

void buf_finish(struct buf *b); /* frees; the buffer is empty and usable again */

/* Room for `extra` bytes behind `len`. 0 or -ENOMEM; on failure the buffer is as it was. */
int buf_reserve(struct buf *b, size_t extra);

int buf_append(struct buf *b, const void *data, size_t len); /* copies; 0 or -ENOMEM */
int buf_puts(struct buf *b, const char *z);                  /* the same for a string */

/* printf behind what is there. The result is NUL-terminated, the NUL is not counted. 0 or -ENOMEM. */
int buf_vprintf(struct buf *b, const char *format, va_list args) __attribute__((format(printf, 2, 0)));
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `n` bytes (n <= len) and moves the rest to the front. */
void buf_consume(struct buf *b, size_t n);

/* The content as a C string: appends a NUL that is not counted. NULL when memory is short. */
const char *buf_cstr(struct buf *b);

/* buf.c - growable bytes. */
#include "server/base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_finish(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

int buf_reserve(struct buf *b, size_t extra)
{
    if (b->cap - b->len >= extra) {
        return 0;
    }
    size_t need;
    if (__builtin_add_overflow(b->len, extra, &need)) {
        return -ENOMEM;
    }
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need) {
        if (cap > (size_t)-1 / 2) {
            return -ENOMEM;
        }
        cap *= 2;
    }
    char *data = realloc(b->data, cap);
    if (!data) {
        return -ENOMEM;
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, const void *data, size_t len)
{
    int r = buf_reserve(b, len);
    if (r < 0) {
        return r;
    }
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
    return 0;
}

int buf_puts(struct buf *b, const char *z)
{
    return buf_append(b, z, strlen(z));
}

int buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    int r = n < 0 ? -ENOMEM : buf_reserve(b, (size_t)n + 1);
    if (r == 0) {
        vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return r;
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = buf_vprintf(b, format, args);
    va_end(args);
    return r;
}

void buf_consume(struct buf *b, size_t n)
{
    b->len -= n;
    if (n > 0 && b->len > 0) {
        memmove(b->data, b->data + n, b->len);
    }
}

const char *buf_cstr(struct buf *b)
{
    if (buf_reserve(b, 1) < 0) {
        return NULL;
    }
    b->data[b->len] = '\0';
    return b->data;
}

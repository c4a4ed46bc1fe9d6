/* accesslog.h - compiles access_log_format once; prints a finished exchange.
 * gunicorn's atoms: h l u t r s m U q H b B f a T D M L p {header}i {header}o {variable}e; an unknown one prints "-".
 * Values come from clients: a double quote is written \", control characters and backslashes as \xHH, so that no line
 * can be forged or broken. */
#pragma once

#include <stdint.h>

struct clock;
struct exchange;
struct buf;

struct accesslog;

/* NULL when memory is short. `format` is copied. */
struct accesslog *accesslog_create(const char *format);
void accesslog_destroy(struct accesslog *a); /* NULL is fine */

/* Appends the line for `x`, line break included. `sent`: bytes of body on the wire, `took_us`: from first byte to last.
 * 0 or -ENOMEM. */
int accesslog_format(const struct accesslog *a, struct buf *out, const struct exchange *x, const struct clock *clock,
                     uint64_t sent, uint64_t took_us);

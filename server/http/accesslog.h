/* accesslog.h - compiles access_log_format once; prints a finished exchange.
 *
 * A format is one of three names or a text with atoms (atoms.h) in it:
 *   combined   gunicorn's default line, which is Apache's
 *   json       an object a line
 *   logfmt     name=value pairs; what is not known is left out
 *   else       "%(h)s ..."; an atom that is none, or has no value, prints "-"; a width may stand before the letter
 *
 * Values come from clients, and no line can be forged or broken by one. In a text a double quote is written \", control
 * characters and backslashes as \xHH. A text that is an object itself ("{...}"), json, and what logfmt has in quotes:
 * as JSON has it; there, too, what is no UTF-8 becomes U+FFFD. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct clock;
struct exchange;
struct buf;

struct accesslog;
struct wanted;

/* NULL when memory is short. `format` is copied. `worker`: for the atom of that name. To be called in the worker. */
struct accesslog *accesslog_create(const char *format, unsigned worker);
void accesslog_destroy(struct accesslog *a); /* NULL is fine */

const struct wanted *accesslog_wanted(const struct accesslog *a); /* variables of WSGI, exchange.h; NULL: none */
bool accesslog_wants_times(const struct accesslog *a);            /* of struct exchange: see exchange_note */

/* Appends the line for `x`, line break included. `sent`: bytes of body on the wire, `took_us`: from first byte to last.
 * 0 or -ENOMEM, and then `out` is as it was. */
int accesslog_format(const struct accesslog *a, struct buf *out, const struct exchange *x, const struct clock *clock,
                     uint64_t sent, uint64_t took_us);

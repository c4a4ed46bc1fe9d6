/* json.h - writes JSON behind a buffer: any bytes go in, valid UTF-8 comes out.
 * A value after a value gets its comma by itself. The first failure stays: it is asked for once, at the end.
 *
 *     struct json j = {.out = &text};
 *     json_open(&j, '{');
 *     json_key(&j, "pid");
 *     json_int(&j, 42);
 *     json_close(&j, '}');          {"pid":42}
 *     r = json.error;
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

struct json {        /* zero it, but for the first */
    struct buf *out; /* borrowed */
    int error;       /* 0 or -ENOMEM: what is in `out` is no JSON then */
    bool behind;     /* there is a value before the next one, in the same object or array */
};

void json_open(struct json *j, char bracket); /* '{' or '[' */
void json_close(struct json *j, char bracket);
void json_key(struct json *j, const char *name); /* a value follows */

void json_string(struct json *j, const void *bytes, size_t len);
void json_text(struct json *j, const char *z); /* NULL: null */
void json_int(struct json *j, int64_t n);
void json_uint(struct json *j, uint64_t n);
void json_bool(struct json *j, bool truth);
void json_null(struct json *j);

/* What stands between the quotes for these bytes. What is no UTF-8 becomes U+FFFD, a sequence at a time as decoders do
 * it; control characters, also the newer ones beyond ASCII, and the line ends that only JavaScript knows are written as
 * \uXXXX, so that the text does no harm in a terminal or in a script. 0 or -ENOMEM. */
int json_escape(struct buf *out, const void *bytes, size_t len);

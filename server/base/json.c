/* json.c - writes JSON behind a buffer. */
#include "server/base/json.h"

#include <string.h>

#include "server/base/buf.h"

/* Bytes -> the inside of a string */

#define BAD 0xfffd /* replacement character */

/* The character at `p`, of `left` >= 1 bytes; *used: how many bytes it has, or how many of what is no character go
 * together (Unicode 15, table 3-7 and "maximal subparts"). */
static unsigned decode(const unsigned char *p, size_t left, size_t *used)
{
    unsigned char first = p[0];
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t more;
    unsigned c;
    *used = 1;
    if (first < 0x80) {
        return first;
    }
    if (first >= 0xc2 && first <= 0xdf) {
        more = 1;
        c = first & 0x1fU;
    } else if (first >= 0xe0 && first <= 0xef) {
        more = 2;
        c = first & 0x0fU;
        low = first == 0xe0 ? 0xa0 : low;   /* not longer than needed */
        high = first == 0xed ? 0x9f : high; /* no surrogates */
    } else if (first >= 0xf0 && first <= 0xf4) {
        more = 3;
        c = first & 0x07U;
        low = first == 0xf0 ? 0x90 : low;
        high = first == 0xf4 ? 0x8f : high; /* nothing beyond U+10FFFF */
    } else {
        return BAD;
    }
    for (; more > 0; more--) {
        if (*used == left || p[*used] < low || p[*used] > high) {
            return BAD;
        }
        c = c << 6 | (p[(*used)++] & 0x3fU);
        low = 0x80;
        high = 0xbf;
    }
    return c;
}

/* ASCII that stands for itself: most of what there is. */
static bool is_simple(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static bool is_plain(unsigned c)
{
    bool control = c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x2028 || c == 0x2029;
    return !control && c != '"' && c != '\\';
}

static int escape_one(struct buf *out, unsigned c)
{
    static const char NAMED[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* each with its letter behind it */
    for (const char *name = NAMED; *name; name += 2) {
        if ((unsigned char)*name == c) {
            const char pair[2] = {'\\', name[1]};
            return buf_append(out, pair, sizeof(pair));
        }
    }
    return buf_printf(out, "\\u%04x", c);
}

int json_escape(struct buf *out, const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    size_t from = 0, at = 0; /* what lies between them is plain and still to be copied */
    for (;;) {
        while (at < len && is_simple(p[at])) {
            at++;
        }
        if (at == len) {
            break;
        }
        size_t used;
        unsigned c = decode(p + at, len - at, &used);
        if (is_plain(c) && c != BAD) {
            at += used;
            continue;
        }
        int r = from < at ? buf_append(out, p + from, at - from) : 0;
        r = r < 0 ? r : c == BAD ? buf_puts(out, "\xef\xbf\xbd") : escape_one(out, c);
        if (r < 0) {
            return r;
        }
        at += used;
        from = at;
    }
    return from < at ? buf_append(out, p + from, at - from) : 0;
}

/* Values */

static void note(struct json *j, int r)
{
    if (j->error == 0) {
        j->error = r;
    }
}

static void put(struct json *j, const char *z)
{
    note(j, buf_puts(j->out, z));
}

/* Before each value and each key. */
static void separate(struct json *j)
{
    if (j->behind) {
        put(j, ",");
    }
    j->behind = true;
}

void json_open(struct json *j, char bracket)
{
    separate(j);
    note(j, buf_append(j->out, &bracket, 1));
    j->behind = false;
}

void json_close(struct json *j, char bracket)
{
    note(j, buf_append(j->out, &bracket, 1));
    j->behind = true;
}

static void quote(struct json *j, const void *bytes, size_t len)
{
    put(j, "\"");
    note(j, json_escape(j->out, bytes, len));
    put(j, "\"");
}

void json_key(struct json *j, const char *name)
{
    separate(j);
    quote(j, name, strlen(name));
    put(j, ":");
    j->behind = false;
}

void json_string(struct json *j, const void *bytes, size_t len)
{
    separate(j);
    quote(j, bytes, len);
}

void json_text(struct json *j, const char *z)
{
    if (z) {
        json_string(j, z, strlen(z));
    } else {
        json_null(j);
    }
}

void json_int(struct json *j, int64_t n)
{
    separate(j);
    note(j, buf_printf(j->out, "%lld", (long long)n));
}

void json_uint(struct json *j, uint64_t n)
{
    separate(j);
    note(j, buf_printf(j->out, "%llu", (unsigned long long)n));
}

void json_bool(struct json *j, bool truth)
{
    separate(j);
    put(j, truth ? "true" : "false");
}

void json_null(struct json *j)
{
    separate(j);
    put(j, "null");
}

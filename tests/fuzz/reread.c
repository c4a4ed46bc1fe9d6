/* reread.c - reads again, from the bytes that the client sent, the request that the application is given. */
#include "tests/fuzz/reread.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/http/body.h"
#include "server/http/exchange.h"
#include "tests/fuzz/check.h"

struct reader {
    const char *p, *end;
};

static void expect(struct reader *r, struct str text)
{
    CHECK((size_t)(r->end - r->p) >= text.len && memcmp(r->p, text.p, text.len) == 0, "'%.*s' expected at '%.*s'",
          (int)text.len, text.p, (int)(r->end - r->p > 40 ? 40 : r->end - r->p), r->p);
    r->p += text.len;
}

/* A line without its CR LF. */
static struct str line(struct reader *r)
{
    const char *p = r->p;
    while (r->end - p >= 2 && memcmp(p, "\r\n", 2) != 0) {
        CHECK(*p != '\r' && *p != '\n', "a line is cut by a single CR or LF");
        p++;
    }
    struct str s = {r->p, (size_t)(p - r->p)};
    r->p = p;
    expect(r, STR("\r\n"));
    return s;
}

static struct str trimmed(struct str s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++, s.len--;
    }
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

/* "name: value" is the next field of the request, or one that was dropped for the underscore in its name. */
static bool is_field(struct str text, const struct exchange *x, size_t i, struct str *name, struct str *value)
{
    const char *colon = memchr(text.p, ':', text.len);
    CHECK(colon, "a header line without a colon");
    *name = (struct str){text.p, (size_t)(colon - text.p)};
    *value = trimmed((struct str){colon + 1, text.len - name->len - 1});
    const struct header *h = i < x->request.n_headers ? &x->request.headers[i] : NULL;
    bool absolute = x->request.target.p[0] != '/'; /* then Host was replaced */
    if (h && str_eq(h->name, *name) && (str_eq(h->value, *value) || (h->id == HEADER_HOST && absolute))) {
        return true;
    }
    CHECK(memchr(name->p, '_', name->len), "a field that the application does not see: %.*s", (int)text.len, text.p);
    return false;
}

struct lengths {
    bool chunked;
    long long declared; /* -1: none */
};

static struct lengths read_head(struct reader *r, const struct exchange *x)
{
    const struct request *q = &x->request;
    struct lengths l = {.declared = -1};
    char version[] = " HTTP/x.y\r\n";
    version[6] = (char)('0' + q->major);
    version[8] = (char)('0' + q->minor);

    while (r->end - r->p >= 2 && memcmp(r->p, "\r\n", 2) == 0) {
        r->p += 2;
    }
    expect(r, q->method);
    expect(r, STR(" "));
    expect(r, q->target);
    expect(r, str_of(version));
    size_t i = 0;
    for (struct str text = line(r); text.len > 0; text = line(r)) {
        struct str name, value;
        i += is_field(text, x, i, &name, &value);
        if (str_ieq(name, STR("Transfer-Encoding"))) {
            CHECK(str_ieq(value, STR("chunked")) && !l.chunked, "transfer coding %.*s", (int)value.len, value.p);
            l.chunked = true;
        }
        if (str_ieq(name, STR("Content-Length"))) {
            CHECK(l.declared < 0 && value.len > 0 && value.len < 19, "Content-Length: %.*s", (int)value.len, value.p);
            l.declared = 0;
            for (size_t k = 0; k < value.len; k++) {
                CHECK(isdigit((unsigned char)value.p[k]), "Content-Length: %.*s", (int)value.len, value.p);
                l.declared = l.declared * 10 + value.p[k] - '0';
            }
        }
    }
    CHECK(i == q->n_headers, "the application sees %zu fields that were not sent", q->n_headers - i);
    CHECK(!l.chunked || l.declared < 0, "two lengths");
    CHECK(q->chunked == l.chunked && q->content_length == l.declared, "the lengths were read in two ways");
    return l;
}

/* RFC 9112 7.1: the size, and extensions of visible characters; returns the size. */
static size_t chunk_size(struct reader *r)
{
    struct str text = line(r);
    size_t size = 0, i = 0;
    for (; i < text.len && isxdigit((unsigned char)text.p[i]); i++) {
        CHECK(size < (size_t)1 << 56, "a chunk's size overflows");
        unsigned char c = (unsigned char)tolower((unsigned char)text.p[i]);
        size = size * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    CHECK(i > 0, "a chunk without a size: '%.*s'", (int)text.len, text.p);
    struct str extension = trimmed((struct str){text.p + i, text.len - i});
    CHECK(extension.len == 0 || extension.p[0] == ';', "behind a chunk's size: '%.*s'", (int)text.len, text.p);
    for (i = 0; i < extension.len; i++) {
        unsigned char c = (unsigned char)extension.p[i];
        CHECK((c >= ' ' && c != 0x7f) || c == '\t', "a control character in a chunk's extension");
    }
    return size;
}

static void read_chunks(struct reader *r, struct buf *body)
{
    for (size_t size = chunk_size(r); size > 0; size = chunk_size(r)) {
        CHECK((size_t)(r->end - r->p) >= size, "a chunk is cut short");
        CHECK(buf_append(body, r->p, size) == 0, "memory");
        r->p += size;
        expect(r, STR("\r\n"));
    }
    for (struct str text = line(r); text.len > 0; text = line(r)) {
        CHECK(memchr(text.p, ':', text.len) && text.p[0] != ' ' && text.p[0] != '\t', "trailer '%.*s'", (int)text.len,
              text.p);
    }
}

static void compare_body(const struct body *got, const struct buf *sent)
{
    CHECK(body_len(got) == sent->len, "%llu bytes of body instead of %zu", (unsigned long long)body_len(got),
          sent->len);
    const char *view = body_view(got);
    char *copy = malloc(sent->len + 1);
    CHECK(copy, "memory");
    size_t n = 0;
    for (ssize_t k; (k = body_pread(got, n, copy + n, sent->len - n + 1)) > 0;) {
        n += (size_t)k;
    }
    CHECK(n == sent->len, "the body ends early");
    if (n > 0) {
        CHECK(memcmp(copy, sent->data, n) == 0, "another body");
        CHECK(!view || memcmp(view, sent->data, n) == 0, "another body in memory");
    }
    free(copy);
}

size_t reread_request(const char *raw, size_t len, size_t at, const struct exchange *x)
{
    struct reader r = {raw + at, raw + len};
    struct buf body = {0};
    struct lengths l = read_head(&r, x);
    if (l.chunked) {
        read_chunks(&r, &body);
    } else if (l.declared > 0) {
        CHECK(r.end - r.p >= l.declared, "a body that has not arrived");
        CHECK(buf_append(&body, r.p, (size_t)l.declared) == 0, "memory");
        r.p += l.declared;
    }
    compare_body(x->body, &body);
    buf_finish(&body);
    return (size_t)(r.p - raw);
}

bool reread_has_head(const char *raw, size_t len, size_t at)
{
    while (len - at >= 2 && memcmp(raw + at, "\r\n", 2) == 0) {
        at += 2;
    }
    return memmem(raw + at, len - at, "\r\n\r\n", 4) != NULL;
}

/* replies.c - what a client makes of the bytes that it got. */
#include "tests/fuzz/replies.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/str.h"
#include "server/http/chars.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/fake_app.h"

struct head {
    int status;
    unsigned char minor;
    bool chunked, close;
    long long length;   /* -1: none */
    long long exchange; /* the application's number of it; -1: the server's own answer */
    unsigned dates, servers;
};

struct cursor {
    const char *p, *end;
};

static bool next_line(struct cursor *c, struct str *line)
{
    const char *crlf = memmem(c->p, (size_t)(c->end - c->p), "\r\n", 2);
    if (!crlf) {
        return false;
    }
    *line = (struct str){c->p, (size_t)(crlf - c->p)};
    c->p = crlf + 2;
    return true;
}

static long long number(struct str s, int base)
{
    long long n = 0;
    CHECK(s.len > 0 && s.len < 19, "number '%.*s'", (int)s.len, s.p);
    for (size_t i = 0; i < s.len; i++) {
        int d = isdigit((unsigned char)s.p[i]) ? s.p[i] - '0' : s.p[i] >= 'a' && s.p[i] <= 'f' ? s.p[i] - 'a' + 10 : 99;
        CHECK(d < base, "number '%.*s'", (int)s.len, s.p);
        n = n * base + d;
    }
    return n;
}

static void read_field(struct head *h, struct str line)
{
    CHECK(chars_are_field_text(line), "a control character in an answer");
    const char *colon = memmem(line.p, line.len, ": ", 2);
    CHECK(colon, "a header line without a colon: %.*s", (int)line.len, line.p);
    struct str name = {line.p, (size_t)(colon - line.p)};
    struct str value = {colon + 2, line.len - name.len - 2};
    CHECK(chars_are_token(name), "name %.*s", (int)name.len, name.p);
    if (str_ieq(name, STR("Content-Length"))) {
        CHECK(h->length < 0, "two lengths");
        h->length = number(value, 10);
    } else if (str_ieq(name, STR("Transfer-Encoding"))) {
        CHECK(!h->chunked && str_eq(value, STR("chunked")), "coding");
        h->chunked = true;
    } else if (str_ieq(name, STR("Connection"))) {
        CHECK(!h->close, "Connection twice");
        h->close = str_eq(value, STR("close"));
    } else if (str_ieq(name, STR("X-Exchange"))) {
        CHECK(h->exchange < 0, "X-Exchange twice");
        h->exchange = number(value, 10);
    } else {
        CHECK(!str_ieq(name, STR("X-Second")), "a forged field");
        h->dates += str_ieq(name, STR("Date"));
        h->servers += str_ieq(name, STR("Server"));
    }
}

/* False when it is not all there. */
static bool read_head(struct cursor *c, struct head *h)
{
    struct str line;
    *h = (struct head){.length = -1, .exchange = -1};
    if (!next_line(c, &line)) {
        return false;
    }
    CHECK(line.len >= 13 && memcmp(line.p, "HTTP/1.", 7) == 0 && line.p[8] == ' ' && line.p[12] == ' ',
          "status line '%.*s'", (int)line.len, line.p);
    h->minor = (unsigned char)(line.p[7] - '0');
    h->status = (int)number((struct str){line.p + 9, 3}, 10);
    while (next_line(c, &line)) {
        if (line.len == 0) {
            CHECK(h->status == 100 || (h->dates == 1 && h->servers == 1), "Date or Server of %d", h->status);
            CHECK(!h->chunked || (h->length < 0 && h->minor == 1), "framing");
            return true;
        }
        read_field(h, line);
    }
    return false;
}

static bool read_chunks(struct cursor *c, struct buf *body)
{
    for (struct str line; next_line(c, &line);) {
        size_t size = (size_t)number(line, 16);
        if (size == 0) {
            return next_line(c, &line) && line.len == 0;
        }
        size_t there = (size_t)(c->end - c->p) < size ? (size_t)(c->end - c->p) : size;
        CHECK(buf_append(body, c->p, there) == 0, "memory");
        c->p += there;
        if (!next_line(c, &line)) {
            return false;
        }
        CHECK(line.len == 0, "a chunk is longer than its size");
    }
    return false;
}

/* The body of an answer, as far as it is there; true when all of it is. */
static bool read_body(struct cursor *c, const struct head *h, bool none, struct buf *body)
{
    if (none) {
        return true;
    }
    if (h->chunked) {
        return read_chunks(c, body);
    }
    size_t there = (size_t)(c->end - c->p);
    bool declared = h->length >= 0;
    size_t n = declared && (size_t)h->length < there ? (size_t)h->length : there;
    CHECK(buf_append(body, c->p, n) == 0, "memory");
    c->p += n;
    CHECK(declared || h->close || h->minor == 0, "nothing says where the answer ends");
    return !declared || n == (size_t)h->length;
}

static void check_answer(const struct answer *a, const struct head *h, const struct buf *body, bool complete,
                         bool may_be_cut)
{
    bool none = a->to_head || a->no_body;
    CHECK(h->status == a->status && h->minor == (a->minor ? 1 : 0), "status %d", h->status);
    CHECK(body->len <= a->body &&
              (body->len == 0 || memcmp(body->data, fake_app_pattern() + a->pattern, body->len) == 0),
          "another body");
    CHECK(h->status != 204 || h->length < 0, "Content-Length in 204");
    if (a->end == ANSWER_WHOLE && !may_be_cut) {
        CHECK(complete, "the answer is cut");
        CHECK(none || body->len == a->body, "%zu bytes of body instead of %zu", body->len, a->body);
    }
    /* In HTTP/1.0 without a length a cut cannot be seen. */
    CHECK(a->end != ANSWER_CUT || !complete || (h->length < 0 && !h->chunked), "a broken answer looks whole");
    CHECK(a->end != ANSWER_REPLACED, "an answer that the application did not give");
}

struct replies replies_check(const char *data, size_t len, const struct fake_app *a, bool may_be_cut)
{
    struct cursor c = {data, data + len};
    struct replies r = {0};
    struct buf body = {0};
    size_t i = 0;

    while (c.p < c.end) {
        struct head h;
        CHECK(!r.closing && !r.cut && !r.refused, "an answer behind the last one");
        if (!read_head(&c, &h)) {
            r.cut = true;
            break;
        }
        if (h.status == 100) {
            continue;
        }
        const struct answer *answer = i < a->n ? &a->answers[i] : NULL;
        bool own = h.exchange < 0, replaced = own && answer && answer->end == ANSWER_REPLACED;
        const char *from = c.p;
        body.len = 0;
        /* One of the server's own is the last; to HEAD it has no body. */
        bool none = own ? c.p == c.end : answer && (answer->to_head || answer->no_body);
        r.cut = !read_body(&c, &h, none, &body);
        r.closing = h.close;
        if (own) {
            CHECK(h.close && h.status >= 400, "the server's own answer %d", h.status);
            CHECK(!replaced || h.status == 500, "status %d for an application that failed", h.status);
            r.refused = replaced ? 0 : h.status;
            r.page = from;
            r.page_len = (size_t)(c.p - from);
            i += replaced;
            continue;
        }
        CHECK(answer && h.exchange == (long long)i, "answer %lld in place %zu", h.exchange, i);
        check_answer(answer, &h, &body, !r.cut, may_be_cut);
        i++;
    }
    buf_finish(&body);
    if (!may_be_cut) {
        bool broken_off = a->n > 0 && a->answers[a->n - 1].end == ANSWER_CUT;
        CHECK(i == a->n || (broken_off && i == a->n - 1), "%zu answers to %zu requests", i, a->n);
        CHECK(!r.cut || broken_off, "the last answer is cut");
    }
    return r;
}

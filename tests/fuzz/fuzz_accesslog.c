/* fuzz_accesslog.c - any format, over a request and an answer with hostile values: always one line, of which nothing
 * that a client sent breaks out; json and logfmt can be read again. The first line of the input is the format; then
 * come lines with the values. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/http/accesslog.h"
#include "server/http/exchange.h"
#include "server/net/peer.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/script.h"

#define DEFAULT_FORMAT "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\""
#define DEFAULT_QUOTES 6
#define FIELDS_MAX 8

static const struct clock now = {.log_time = "22/Nov/2026:23:35:47 +0000", .iso_time = "2026-11-22T23:35:47.000+00:00"};
static const struct peer peer = {.addr = "2001:db8::1", .port = 1, .server_port = 2, .server_addr = "a\"b"};

/* The next line of the input as an allocation of its own, owned: reading past it would be noticed. */
static struct str take(struct str *rest)
{
    struct str line = script_next_line(rest);
    char *copy = malloc(line.len ? line.len : 1);
    CHECK(copy, "memory");
    memcpy(copy, line.p, line.len);
    return (struct str){copy, line.len};
}

static size_t bare_quotes(const struct buf *line)
{
    size_t n = 0;
    for (size_t i = 0; i < line->len; i++) {
        n += line->data[i] == '"';
        i += line->data[i] == '\\';
    }
    return n;
}

/* Control characters come from the format only, which is the administrator's. */
static void check_line(const struct buf *line, struct str format)
{
    CHECK(line->len > 0 && line->data[line->len - 1] == '\n', "no line break at the end");
    for (size_t i = 0; i + 1 < line->len; i++) {
        unsigned char c = (unsigned char)line->data[i];
        CHECK((c >= ' ' && c != 0x7f) || memchr(format.p, c, format.len), "byte %02x in the line", c);
    }
}

static void print(struct str format, const struct exchange *x, uint64_t number, bool is_default)
{
    struct buf line = {0};
    char *z = strndup(format.p, format.len);
    struct accesslog *log = z ? accesslog_create(z, 1) : NULL;
    CHECK(log, "memory");
    CHECK(accesslog_format(log, &line, x, &now, number, number * 1001) == 0, "memory");
    check_line(&line, format);
    CHECK(!is_default || bare_quotes(&line) == DEFAULT_QUOTES, "a value breaks out of its quotes: %.*s", (int)line.len,
          line.data);
    accesslog_destroy(log);
    free(z);
    buf_finish(&line);
}

/* json and logfmt, read again */

static const char *skip_utf8(const char *p, const char *end)
{
    unsigned char c = (unsigned char)*p;
    size_t more = c < 0x80                 ? 0
                  : c >= 0xc2 && c <= 0xdf ? 1
                  : c >= 0xe0 && c <= 0xef ? 2
                  : c >= 0xf0 && c <= 0xf4 ? 3
                                           : 9;
    CHECK(more < (size_t)(end - p), "no UTF-8: %02x", c);
    for (size_t i = 1; i <= more; i++) {
        CHECK(((unsigned char)p[i] & 0xc0) == 0x80, "no UTF-8 behind %02x", c);
    }
    return p + more + 1;
}

/* Behind the string that begins at `p`, with its quotes. */
static const char *skip_string(const char *p, const char *end)
{
    CHECK(p < end && *p == '"', "no string");
    for (p++; p < end && *p != '"';) {
        if (*p == '\\') {
            CHECK(end - p > 1 && p[1] && strchr("\"\\bfnrtu", p[1]), "unknown escape \\%c", p[1]);
            CHECK(p[1] != 'u' || (end - p > 5 && strspn(p + 2, "0123456789abcdef") >= 4), "short \\u");
            p += p[1] == 'u' ? 6 : 2;
        } else {
            p = skip_utf8(p, end);
        }
    }
    CHECK(p < end, "a string without an end");
    return p + 1;
}

static const char *skip_word(const char *p, const char *end)
{
    const char *from = p;
    while (p<end && * p> ' ' && *p < 0x7f && *p != '"' && *p != '=' && *p != ',' && *p != '}') {
        p++;
    }
    CHECK(p > from, "no value");
    return p;
}

static void check_json(const char *p, const char *end)
{
    for (char before = '{'; *p != '}'; before = ',') {
        CHECK(*p == before, "%c instead of %c", *p, before);
        p = skip_string(p + 1, end);
        CHECK(*p == ':', "no colon");
        p = p[1] == '"' ? skip_string(p + 1, end) : skip_word(p + 1, end);
    }
    CHECK(p + 1 == end, "something behind the object");
}

static void check_logfmt(const char *p, const char *end)
{
    for (;;) {
        p += strspn(p, "abcdefghijklmnopqrstuvwxyz_");
        CHECK(*p == '=', "no name");
        if (p[1] == '"') {
            p = skip_string(p + 1, end);
        } else {
            for (p++; *p > ' ' && *p < 0x7f && *p != '"' && *p != '=' && *p != '\\'; p++) {
            }
        }
        if (p == end) {
            return;
        }
        CHECK(*p++ == ' ', "no space between two pairs");
    }
}

static void read_again(const char *format, const struct exchange *x, uint64_t number,
                       void (*check)(const char *p, const char *end))
{
    struct buf line = {0};
    struct accesslog *log = accesslog_create(format, 1);
    CHECK(log && accesslog_format(log, &line, x, &now, number, number * 1001) == 0, "memory");
    line.data[line.len - 1] = '\0';
    check(line.data, line.data + line.len - 1);
    accesslog_destroy(log);
    buf_finish(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const enum header_id KNOWN[] = {HEADER_AUTHORIZATION, HEADER_REFERER, HEADER_USER_AGENT, HEADER_HOST};
    struct str rest = {(const char *)data, len}, format = take(&rest), owned[3 + 2 * FIELDS_MAX] = {{0}};
    struct header fields[FIELDS_MAX];
    struct exchange x;
    size_t n = 0;

    exchange_init(&x);
    x.peer = &peer;
    struct request *r = &x.request;
    r->major = r->minor = 1;
    r->headers = fields;
    r->aliases = len % 2;
    r->method = owned[n++] = take(&rest);
    r->target = r->path = owned[n++] = take(&rest);
    r->query = owned[n++] = take(&rest);
    for (; r->n_headers < FIELDS_MAX && rest.len > 0; r->n_headers++) {
        struct header *h = &fields[r->n_headers];
        h->name = owned[n++] = take(&rest);
        h->value = owned[n++] = take(&rest);
        h->id = r->n_headers < 4 ? KNOWN[r->n_headers] : header_lookup(h->name);
    }
    if (response_start(&x.response, STR("200 OK")) == RESPONSE_OK && r->n_headers > 0) {
        response_add(&x.response, STR("X-Value"), fields[0].value);
        response_add(&x.response, STR("Content-Length"), fields[0].value);
    }
    print(format, &x, len * 7919, false);
    print(STR(DEFAULT_FORMAT), &x, len, true);
    read_again("json", &x, len, check_json);
    read_again("logfmt", &x, len, check_logfmt);
    read_again("{\"a\":\"%(a)s\",\"r\":\"%(r)s\",\"u\":\"%(u)s\",\"q\":\"%(q)s\",\"o\":\"%({X-Value}o)s\"}", &x, len,
               check_json);

    exchange_finish(&x);
    for (size_t i = 0; i < n; i++) {
        free((char *)owned[i].p);
    }
    free((char *)format.p);
    return 0;
}

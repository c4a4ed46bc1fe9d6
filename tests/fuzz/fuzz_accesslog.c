/* fuzz_accesslog.c - any format, over a request and an answer with hostile values: always one line, of which nothing
 * that a client sent breaks out. The first line of the input is the format; then come lines with the values. */
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

static const struct clock now = {.log_time = "22/Nov/2026:23:35:47 +0000"};
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

    exchange_finish(&x);
    for (size_t i = 0; i < n; i++) {
        free((char *)owned[i].p);
    }
    free((char *)format.p);
    return 0;
}

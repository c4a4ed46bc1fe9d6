/* framing.c - a response as HTTP/1.1 puts it on the wire. */
#include "server/http/framing.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/digits.h"
#include "server/http/exchange.h"
#include "server/http/http.h"

#define OWN_FIELDS_MAX 256 /* status line without its text, Date, Connection, length, the empty line */
#define SIZE_LINE_MAX 24   /* of a chunk: 16 hexadecimal digits at most, CR LF */

enum framing framing_of(const struct exchange *x)
{
    const struct response *r = &x->response;
    if (r->content_length >= 0 || r->no_body) {
        return FRAMING_LENGTH;
    }
    return x->request.minor > 0 ? FRAMING_CHUNKED : FRAMING_CLOSE;
}

static char *put(char *p, struct str s)
{
    if (s.len > 0) {
        memcpy(p, s.p, s.len);
    }
    return p + s.len;
}

bool framing_head(struct exchange *x, enum framing framing, bool keep_alive, const struct http *http, struct str more,
                  struct chunk *out)
{
    const struct response *r = &x->response;
    bool http11 = x->request.minor > 0;
    char *head =
        arena_alloc(&x->arena, r->status_line.len + http->server.len + r->block.len + more.len + OWN_FIELDS_MAX);
    if (!head) {
        return false;
    }
    char *p = put(head, http11 ? STR("HTTP/1.1 ") : STR("HTTP/1.0 "));
    p = put(p, r->status_line);
    p = put(p, http->server);
    p = put(p, (struct str){http->clock.http_date, CLOCK_HTTP_DATE_LEN});
    p = put(p, STR("\r\n"));
    if (!keep_alive) {
        p = put(p, STR("Connection: close\r\n"));
    } else if (!http11) {
        p = put(p, STR("Connection: keep-alive\r\n"));
    }
    if (framing == FRAMING_CHUNKED) {
        p = put(p, STR("Transfer-Encoding: chunked\r\n"));
    } else if (r->content_length >= 0 && r->status != 204) { /* RFC 9110 8.6: never with 204 */
        p = put(p, STR("Content-Length: "));
        p += digits_put(p, (uint64_t)r->content_length, 10);
        p = put(p, STR("\r\n"));
    }
    p = put(p, more);
    p = put(p, r->block);
    p = put(p, STR("\r\n"));
    *out = (struct chunk){.data = head, .len = (size_t)(p - head), .fd = -1};
    return true;
}

static struct chunk fixed(struct str s)
{
    return (struct chunk){.data = s.p, .len = s.len, .fd = -1};
}

int framing_body(struct chunkq *body, enum framing framing, struct chunk *out, int max)
{
    bool chunked = framing == FRAMING_CHUNKED && !chunkq_is_empty(body);
    char *line = chunked ? malloc(SIZE_LINE_MAX) : NULL; /* not in the arena: a stream may go on for days */
    if (chunked && !line) {
        return -ENOMEM;
    }
    int n = chunked;
    size_t len = 0;
    while (!chunkq_is_empty(body) && n + chunked < max) {
        out[n] = chunkq_pop(body);
        len += out[n++].len;
    }
    if (chunked) {
        char *end = put(line + digits_put(line, len, 16), STR("\r\n"));
        out[0] = (struct chunk){.data = line, .len = (size_t)(end - line), .fd = -1, .release = free, .owner = line};
        out[n++] = fixed(STR("\r\n"));
    }
    return n;
}

struct chunk framing_last(void)
{
    return fixed(STR("0\r\n\r\n"));
}

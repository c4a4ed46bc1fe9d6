/* response.c - status, headers, body queue; how the body will be framed. */
#include "server/http/response.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/arena.h"
#include "server/http/chars.h"
#include "server/http/request.h"

void response_init(struct response *r, struct arena *arena)
{
    struct chunkq queue = r->queue; /* its memory is kept from one exchange to the next */
    chunkq_drop(&queue);
    *r = (struct response){.arena = arena, .content_length = -1, .queue = queue};
}

void response_finish(struct response *r)
{
    chunkq_finish(&r->queue);
}

/* RFC 9110 15.3.5, 15.4.5. */
static bool has_no_body(int status)
{
    return status == 204 || status == 304;
}

enum response_error response_start(struct response *r, struct str status)
{
    assert(!r->head_sent);
    /* RFC 9110 15, RFC 9112 4: three digits, a space, a reason that may be empty; the space may be missing then, as
     * with gunicorn, and is sent all the same. */
    if (status.len < 3 || (status.len > 3 && status.p[3] != ' ') || status.p[0] < '1' || status.p[0] > '9' ||
        status.p[1] < '0' || status.p[1] > '9' || status.p[2] < '0' || status.p[2] > '9' ||
        !chars_are_field_text(status)) {
        return RESPONSE_BAD_STATUS;
    }
    int code = (status.p[0] - '0') * 100 + (status.p[1] - '0') * 10 + (status.p[2] - '0');
    if (code < 200) {
        return RESPONSE_BAD_STATUS; /* an interim answer cannot stand for the final one */
    }
    size_t len = status.len > 3 ? status.len : 4;
    char *copy = arena_alloc(r->arena, len);
    if (!copy) {
        return RESPONSE_NO_MEMORY;
    }
    memcpy(copy, status.p, status.len);
    copy[3] = ' ';
    r->status_line = (struct str){copy, len};
    r->status = code;
    r->no_body = r->to_head || has_no_body(code);
    r->block.len = 0;
    r->n_fields = 0;
    r->content_length = -1;
    return RESPONSE_OK;
}

/* RFC 9110 8.6: digits only. */
static enum response_error set_length(struct response *r, struct str value)
{
    int64_t n = 0;
    if (value.len == 0 || value.len > 18) {
        return RESPONSE_BAD_LENGTH;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.p[i] < '0' || value.p[i] > '9') {
            return RESPONSE_BAD_LENGTH;
        }
        n = n * 10 + (value.p[i] - '0');
    }
    if (r->content_length >= 0 && r->content_length != n) {
        return RESPONSE_BAD_LENGTH;
    }
    r->content_length = n;
    return RESPONSE_OK;
}

/* Room for `extra` bytes in the header block and for one more field. */
static bool reserve_field(struct response *r, size_t extra)
{
    if (r->block_cap - r->block.len < extra) {
        size_t cap = r->block_cap ? r->block_cap * 2 : 512;
        while (cap - r->block.len < extra) {
            cap *= 2;
        }
        char *p = arena_alloc(r->arena, cap);
        if (!p) {
            return false;
        }
        if (r->block.len > 0) {
            memcpy(p, r->block.p, r->block.len); /* fields keep pointing into the old block, which lives as long */
        }
        r->block.p = p;
        r->block_cap = cap;
    }
    if (r->n_fields == r->fields_cap) {
        size_t cap = r->fields_cap ? r->fields_cap * 2 : 16;
        struct field *f = arena_alloc(r->arena, cap * sizeof(*f));
        if (!f) {
            return false;
        }
        if (r->n_fields > 0) {
            memcpy(f, r->fields, r->n_fields * sizeof(*f));
        }
        r->fields = f;
        r->fields_cap = cap;
    }
    return true;
}

/* Returns what is behind it. */
static char *put(char *to, struct str text)
{
    if (text.len > 0) {
        memcpy(to, text.p, text.len);
    }
    return to + text.len;
}

/* RFC 9110 5.5: white space around a value is no part of it. */
static struct str trimmed(struct str s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.len--;
    }
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t')) {
        s.len--;
    }
    return s;
}

enum response_error response_add(struct response *r, struct str name, struct str value)
{
    assert(!r->head_sent);
    enum header_id id = header_lookup(name);
    value = trimmed(value);
    switch (id) {
    case HEADER_DATE:
    case HEADER_SERVER:
        return RESPONSE_OURS;
    case HEADER_CONNECTION:
    case HEADER_KEEP_ALIVE:
    case HEADER_PROXY_AUTHENTICATE:
    case HEADER_PROXY_AUTHORIZATION:
    case HEADER_TE:
    case HEADER_TRAILER:
    case HEADER_TRAILERS:
    case HEADER_TRANSFER_ENCODING:
    case HEADER_UPGRADE:
        return RESPONSE_HOP_BY_HOP;
    case HEADER_CONTENT_LENGTH:
        return set_length(r, value); /* the protocol writes the field where it belongs */
    case HEADER_OTHER:
        if (!chars_are_token(name)) {
            return RESPONSE_BAD_NAME;
        }
        break;
    default:
        break; /* a known name is a token */
    }
    if (!chars_are_field_text(value)) {
        return RESPONSE_BAD_VALUE;
    }
    size_t extra = name.len + value.len + 4;
    if (extra < value.len || !reserve_field(r, extra)) {
        return RESPONSE_NO_MEMORY;
    }
    char *p = (char *)r->block.p + r->block.len; /* our own memory: str is const for its readers */
    put(put(put(put(p, name), STR(": ")), value), STR("\r\n"));
    r->block.len += extra;
    r->fields[r->n_fields++] = (struct field){{p, name.len}, {p + name.len + 2, value.len}};
    return RESPONSE_OK;
}

enum response_error response_hint(struct response *r, const struct field *fields, size_t n, size_t *bad)
{
    static const char LINE[] = "HTTP/1.1 103 Early Hints\r\n";
    size_t len = r->hints.len + sizeof(LINE) - 1 + 2;
    assert(!r->head_sent);
    for (size_t i = 0; i < n; i++) {
        *bad = i;
        if (!chars_are_token(fields[i].name)) {
            return RESPONSE_BAD_NAME;
        }
        if (!chars_are_field_text(fields[i].value)) {
            return RESPONSE_BAD_VALUE;
        }
        len += fields[i].name.len + fields[i].value.len + 4;
    }
    char *p = arena_alloc(r->arena, len);
    if (!p) {
        return RESPONSE_NO_MEMORY;
    }
    char *end = put(p, r->hints);
    end = put(end, STR(LINE));
    for (size_t i = 0; i < n; i++) {
        end = put(put(put(put(end, fields[i].name), STR(": ")), fields[i].value), STR("\r\n"));
    }
    put(end, STR("\r\n"));
    r->hints = (struct str){p, len};
    return RESPONSE_OK;
}

int response_push(struct response *r, const struct chunk *c)
{
    assert(!r->finished);
    struct chunk mine = *c;
    uint64_t room = r->content_length >= 0 ? (uint64_t)r->content_length - r->body_bytes : UINT64_MAX;
    if (mine.len > room) {
        r->dropped_bytes += mine.len - room;
        mine.len = (size_t)room;
    }
    r->body_bytes += mine.len;
    if (mine.len == 0 || r->no_body) {
        chunk_release(&mine);
        return 0;
    }
    int e = chunkq_push(&r->queue, &mine);
    if (e < 0) {
        chunk_release(&mine);
    }
    return e;
}

int response_push_copy(struct response *r, const void *data, size_t len)
{
    char *copy = arena_dup(r->arena, data, len);
    if (!copy) {
        return -ENOMEM;
    }
    return response_push(r, &(struct chunk){.data = copy, .len = len, .fd = -1});
}

void response_end(struct response *r)
{
    if (r->finished) {
        return;
    }
    r->finished = true;
    /* Known in time: the client gets a length instead of chunks. To HEAD, nothing is said that GET would not say. */
    if (!r->head_sent && r->content_length < 0 && (!r->no_body || r->body_bytes > 0)) {
        r->content_length = (int64_t)r->body_bytes;
    }
}

bool response_is_whole(const struct response *r)
{
    return r->finished && r->content_length >= 0 && r->body_bytes == (uint64_t)r->content_length;
}

bool response_is_short(const struct response *r)
{
    return r->finished && r->content_length >= 0 && !r->no_body && r->body_bytes < (uint64_t)r->content_length;
}

static const struct {
    int status;
    const char *reason;
} REASONS[] = {
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {417, "Expectation Failed"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

int response_refuse(struct response *r, int status, const char *message)
{
    const char *reason = "Error";
    for (size_t i = 0; i < sizeof(REASONS) / sizeof(REASONS[0]); i++) {
        if (REASONS[i].status == status) {
            reason = REASONS[i].reason;
        }
    }
    char line[64], page[1024];
    int line_len = snprintf(line, sizeof(line), "%d %s", status, reason);
    int page_len = snprintf(page, sizeof(page),
                            "<!doctype html>\n<html lang=\"en\">\n<head><title>%d %s</title></head>\n"
                            "<body>\n<h1>%s</h1>\n<p>%s</p>\n</body>\n</html>\n",
                            status, reason, reason, message);
    assert(line_len < (int)sizeof(line) && page_len < (int)sizeof(page)); /* all texts are our own and short */

    chunkq_drop(&r->queue);
    r->finished = false;
    r->body_bytes = r->dropped_bytes = 0;
    if (response_start(r, (struct str){line, (size_t)line_len}) != RESPONSE_OK ||
        response_add(r, STR("Content-Type"), STR("text/html; charset=utf-8")) != RESPONSE_OK ||
        response_push_copy(r, page, (size_t)page_len) < 0) {
        return -ENOMEM;
    }
    response_end(r);
    return 0;
}

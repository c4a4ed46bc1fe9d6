/* accesslog.c - compiles access_log_format once; prints a finished exchange. */
#include "server/http/accesslog.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/http/exchange.h"
#include "server/net/peer.h"

#define UNKNOWN '?'     /* an atom that is none prints "-" */
#define CLIENT_LEFT 499 /* as nginx writes it: gone before there was an answer */

enum step_kind { STEP_TEXT, STEP_ATOM, STEP_REQUEST_HEADER, STEP_RESPONSE_HEADER, STEP_VARIABLE };

struct step {
    enum step_kind kind;
    char atom;       /* of STEP_ATOM */
    struct str text; /* of the others, in `format` */
};

struct accesslog {
    char *format;       /* owned */
    struct step *steps; /* owned */
    size_t n;
};

/* One "%(...)s" at `p`, which stands behind "%(". Returns where it ends, or NULL when it is none. */
static const char *compile_atom(const char *p, struct step *step)
{
    const char *close = strchr(p, ')');
    if (!close || !isalpha((unsigned char)close[1])) {
        return NULL;
    }
    if (*p == '{') {
        const char *brace = memchr(p, '}', (size_t)(close - p));
        if (!brace || brace + 2 != close) {
            step->kind = STEP_ATOM;
            step->atom = UNKNOWN;
            return close + 2;
        }
        step->text = (struct str){p + 1, (size_t)(brace - p - 1)};
        switch (brace[1]) {
        case 'i':
            step->kind = STEP_REQUEST_HEADER;
            break;
        case 'o':
            step->kind = STEP_RESPONSE_HEADER;
            break;
        case 'e':
            step->kind = STEP_VARIABLE;
            break;
        default:
            step->kind = STEP_ATOM;
            step->atom = UNKNOWN;
            break;
        }
    } else {
        step->kind = STEP_ATOM;
        step->atom = close - p == 1 ? *p : UNKNOWN;
    }
    return close + 2; /* the conversion letter is always printed as text */
}

struct accesslog *accesslog_create(const char *format)
{
    struct accesslog *a = calloc(1, sizeof(*a));
    size_t len = strlen(format);
    if (!a) {
        return NULL;
    }
    a->format = strdup(format);
    a->steps = calloc(len + 1, sizeof(*a->steps)); /* every step stands for at least one character */
    if (!a->format || !a->steps) {
        accesslog_destroy(a);
        return NULL;
    }
    const char *p = a->format, *text = p;
    while (*p) {
        struct step step = {.kind = STEP_TEXT};
        const char *next = NULL;
        if (p[0] == '%' && p[1] == '(') {
            next = compile_atom(p + 2, &step);
        } else if (p[0] == '%' && p[1] == '%') {
            step.text = (struct str){p, 1};
            next = p + 2;
        }
        if (!next) {
            p++;
            continue;
        }
        if (p > text) {
            a->steps[a->n++] = (struct step){.kind = STEP_TEXT, .text = {text, (size_t)(p - text)}};
        }
        a->steps[a->n++] = step;
        p = text = next;
    }
    if (p > text) {
        a->steps[a->n++] = (struct step){.kind = STEP_TEXT, .text = {text, (size_t)(p - text)}};
    }
    return a;
}

void accesslog_destroy(struct accesslog *a)
{
    if (a) {
        free(a->format);
        free(a->steps);
        free(a);
    }
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c != 0x7f && c != '"' && c != '\\';
}

/* What came from outside. */
static int put_escaped(struct buf *out, struct str s)
{
    size_t from = 0;
    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && is_plain((unsigned char)s.p[i])) {
            continue;
        }
        int r = buf_append(out, s.p + from, i - from);
        if (r == 0 && i < s.len) {
            r = s.p[i] == '"' ? buf_append(out, "\\\"", 2) : buf_printf(out, "\\x%02X", (unsigned char)s.p[i]);
        }
        if (r < 0) {
            return r;
        }
        from = i + 1;
    }
    return 0;
}

static int put_or_dash(struct buf *out, struct str s)
{
    return s.len ? put_escaped(out, s) : buf_append(out, "-", 1);
}

static int put_number(struct buf *out, uint64_t n)
{
    char digits[24], *p = digits + sizeof(digits);
    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return buf_append(out, p, (size_t)(digits + sizeof(digits) - p));
}

static struct str header_value(const struct request *r, enum header_id id)
{
    const struct header *h = request_header(r, id);
    return h ? h->value : STR("");
}

/* Of several the last, as in gunicorn: the one that the nearest proxy has added. */
static struct str header_by_name(const struct request *r, struct str name)
{
    for (size_t i = r->n_headers; i > 0; i--) {
        if (str_ieq(r->headers[i - 1].name, name)) {
            return r->headers[i - 1].value;
        }
    }
    return STR("");
}

/* The user of "Authorization: Basic ..." (RFC 7617), or "-". */
static int put_user(struct buf *out, const struct request *r)
{
    struct str value = header_value(r, HEADER_AUTHORIZATION);
    unsigned char text[384];
    if (value.len < 7 || value.len > 500 || strncasecmp(value.p, "basic ", 6) != 0) {
        return buf_append(out, "-", 1);
    }
    int n = EVP_DecodeBlock(text, (const unsigned char *)value.p + 6, (int)value.len - 6);
    const char *colon = n > 0 ? memchr(text, ':', (size_t)n) : NULL;
    return put_or_dash(out, colon ? (struct str){(char *)text, (size_t)(colon - (char *)text)} : STR(""));
}

#define VERSION_LEN 8

static void spell_version(char text[VERSION_LEN], const struct request *r)
{
    memcpy(text, "HTTP/x.y", VERSION_LEN);
    text[5] = (char)('0' + r->major);
    text[7] = (char)('0' + r->minor);
}

/* A WSGI variable, as far as it is known without Python: what comes from the request. */
static int put_variable(struct buf *out, const struct exchange *x, struct str name)
{
    const struct request *r = &x->request;
    if (name.len > 5 && strncasecmp(name.p, "HTTP_", 5) == 0) {
        char header[128];
        size_t n = name.len - 5;
        if (n > sizeof(header)) {
            return buf_append(out, "-", 1);
        }
        for (size_t i = 0; i < n; i++) {
            header[i] = name.p[5 + i] == '_' ? '-' : name.p[5 + i];
        }
        struct str value = header_by_name(r, (struct str){header, n});
        if (value.len == 0 && r->aliases) {
            value = header_by_name(r, (struct str){name.p + 5, n});
        }
        return put_or_dash(out, value);
    }
    char protocol[VERSION_LEN], server_port[8], remote_port[8];
    spell_version(protocol, r);
    snprintf(server_port, sizeof(server_port), "%u", x->peer->server_port);
    snprintf(remote_port, sizeof(remote_port), "%u", x->peer->port);
    const struct {
        struct str name, value;
    } known[] = {
        {STR("REQUEST_METHOD"), r->method},
        {STR("PATH_INFO"), r->path},
        {STR("RAW_URI"), r->target},
        {STR("QUERY_STRING"), r->query},
        {STR("REMOTE_ADDR"), str_of(x->peer->addr)},
        {STR("SERVER_NAME"), str_of(x->peer->server_addr)},
        {STR("CONTENT_TYPE"), header_value(r, HEADER_CONTENT_TYPE)},
        {STR("CONTENT_LENGTH"), header_value(r, HEADER_CONTENT_LENGTH)},
        {STR("SERVER_PROTOCOL"), {protocol, sizeof(protocol)}},
        {STR("SERVER_PORT"), str_of(server_port)},
        {STR("REMOTE_PORT"), x->peer->port ? str_of(remote_port) : STR("")},
        {STR("wsgi.url_scheme"), r->https ? STR("https") : STR("http")},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (str_ieq(known[i].name, name)) {
            return put_or_dash(out, known[i].value);
        }
    }
    return buf_append(out, "-", 1);
}

static int put_version(struct buf *out, const struct request *r)
{
    char text[VERSION_LEN];
    spell_version(text, r);
    return buf_append(out, text, sizeof(text));
}

/* "GET /path HTTP/1.1", or "-" when the request line was not understood. */
static int put_request_line(struct buf *out, const struct request *r)
{
    if (r->method.len == 0) {
        return buf_append(out, "-", 1);
    }
    int e = put_escaped(out, r->method);
    e = e ? e : buf_append(out, " ", 1);
    e = e ? e : put_escaped(out, r->target);
    e = e ? e : buf_append(out, " ", 1);
    return e ? e : put_version(out, r);
}

static int put_atom(struct buf *out, char atom, const struct exchange *x, const struct clock *clock, uint64_t sent,
                    uint64_t took_us)
{
    const struct request *r = &x->request;
    switch (atom) {
    case 'h':
        return put_or_dash(out, str_of(x->peer->addr));
    case 'u':
        return put_user(out, r);
    case 't':
        return buf_printf(out, "[%s]", clock->log_time);
    case 'r':
        return put_request_line(out, r);
    case 's':
        return put_number(out, x->response.status ? (uint64_t)x->response.status : CLIENT_LEFT);
    case 'm':
        return put_or_dash(out, r->method);
    case 'U':
        return put_or_dash(out, r->path);
    case 'q':
        return put_escaped(out, r->query);
    case 'H':
        return put_version(out, r);
    case 'b':
    case 'B':
        return put_number(out, sent);
    case 'f':
        return put_or_dash(out, header_value(r, HEADER_REFERER));
    case 'a':
        return put_or_dash(out, header_value(r, HEADER_USER_AGENT));
    case 'T':
        return put_number(out, took_us / 1000000);
    case 'D':
        return put_number(out, took_us);
    case 'M':
        return put_number(out, took_us / 1000);
    case 'L':
        return buf_printf(out, "%" PRIu64 ".%06" PRIu64, took_us / 1000000, took_us % 1000000);
    case 'p':
        return buf_printf(out, "<%ld>", (long)getpid());
    default:
        return buf_append(out, "-", 1);
    }
}

static int put_response_header(struct buf *out, const struct response *r, struct str name)
{
    if (str_ieq(name, STR("Content-Length")) && r->content_length >= 0) {
        return put_number(out, (uint64_t)r->content_length);
    }
    for (size_t i = r->n_fields; i > 0; i--) {
        if (str_ieq(r->fields[i - 1].name, name)) {
            return put_or_dash(out, r->fields[i - 1].value);
        }
    }
    return buf_append(out, "-", 1);
}

int accesslog_format(const struct accesslog *a, struct buf *out, const struct exchange *x, const struct clock *clock,
                     uint64_t sent, uint64_t took_us)
{
    size_t before = out->len;
    int r = 0;
    for (size_t i = 0; i < a->n && r == 0; i++) {
        const struct step *step = &a->steps[i];
        switch (step->kind) {
        case STEP_TEXT:
            r = buf_append(out, step->text.p, step->text.len);
            break;
        case STEP_ATOM:
            r = put_atom(out, step->atom, x, clock, sent, took_us);
            break;
        case STEP_REQUEST_HEADER:
            r = put_or_dash(out, header_by_name(&x->request, step->text));
            break;
        case STEP_RESPONSE_HEADER:
            r = put_response_header(out, &x->response, step->text);
            break;
        case STEP_VARIABLE:
            r = put_variable(out, x, step->text);
            break;
        }
    }
    if (r == 0) {
        r = buf_append(out, "\n", 1);
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}

/* atoms.c - what can be said about a finished exchange in the access log, by name. */
#include "server/http/atoms.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "server/base/clock.h"
#include "server/base/digits.h"
#include "server/http/chars.h"
#include "server/http/exchange.h"
#include "server/net/peer.h"

#define CLIENT_LEFT 499 /* as nginx writes it: gone before there was an answer */
#define REQUEST_ID_MAX 200

static struct atom_value none(void)
{
    return (struct atom_value){.kind = VALUE_NONE};
}

static struct atom_value number(uint64_t n)
{
    return (struct atom_value){.kind = VALUE_NUMBER, .number = n};
}

static struct atom_value own(struct str s)
{
    return (struct atom_value){.kind = VALUE_OWN, .text = s};
}

static struct atom_value client(struct str s)
{
    return (struct atom_value){.kind = s.len > 0 ? VALUE_CLIENT : VALUE_NONE, .text = s};
}

/* A field may be there and empty: then nothing is printed, as by gunicorn. */
static struct atom_value field_value(struct str s)
{
    return (struct atom_value){.kind = s.p ? VALUE_CLIENT : VALUE_NONE, .text = s};
}

#define GET(name) static struct atom_value name(struct finished *f, struct str argument)

/* The request */

static struct str field(const struct request *r, enum header_id id)
{
    const struct header *h = request_header(r, id);
    return h ? h->value : (struct str){0};
}

/* Of several the last, as in gunicorn: the one that the nearest proxy has added. */
static struct str field_by_name(const struct request *r, struct str name)
{
    for (size_t i = r->n_headers; i > 0; i--) {
        if (str_ieq(r->headers[i - 1].name, name)) {
            return r->headers[i - 1].value;
        }
    }
    return (struct str){0};
}

void atom_spell_version(char text[VERSION_LEN], const struct exchange *x)
{
    memcpy(text, "HTTP/x.y", VERSION_LEN);
    text[5] = (char)('0' + x->request.major);
    text[7] = (char)('0' + x->request.minor);
}

GET(get_address)
{
    (void)argument;
    return client(str_of(f->x->peer->addr));
}

/* The user of "Authorization: Basic ..." (RFC 7617). */
GET(get_user)
{
    (void)argument;
    struct str value = field(&f->x->request, HEADER_AUTHORIZATION);
    if (value.len < 7 || value.len > sizeof(f->scratch) || !str_ibegins(value, STR("basic "))) {
        return none();
    }
    int n = EVP_DecodeBlock((unsigned char *)f->scratch, (const unsigned char *)value.p + 6, (int)value.len - 6);
    while (n > 0 && f->scratch[n - 1] == '\0') {
        n--; /* what padding was decoded to */
    }
    const char *colon = n > 0 ? memchr(f->scratch, ':', (size_t)n) : NULL;
    return client((struct str){f->scratch, colon ? (size_t)(colon - f->scratch) : n > 0 ? (size_t)n : 0});
}

GET(get_request_line)
{
    (void)argument;
    return f->x->request.method.len > 0 ? (struct atom_value){.kind = VALUE_REQUEST} : none();
}

GET(get_method)
{
    (void)argument;
    return client(f->x->request.method);
}

GET(get_target)
{
    (void)argument;
    return client(f->x->request.target);
}

GET(get_path)
{
    (void)argument;
    return client(f->x->request.path);
}

GET(get_query)
{
    (void)argument;
    return (struct atom_value){.kind = VALUE_CLIENT, .text = f->x->request.query};
}

GET(get_protocol)
{
    (void)argument;
    atom_spell_version(f->scratch, f->x);
    return own((struct str){f->scratch, VERSION_LEN});
}

GET(get_version)
{
    return f->x->request.method.len > 0 ? get_protocol(f, argument) : none();
}

GET(get_referer)
{
    (void)argument;
    return field_value(field(&f->x->request, HEADER_REFERER));
}

GET(get_agent)
{
    (void)argument;
    return field_value(field(&f->x->request, HEADER_USER_AGENT));
}

GET(get_bytes_in)
{
    (void)argument;
    return number(f->x->bytes_in);
}

/* A front end's name for the request is good for looking it up everywhere; one that nobody would type is not taken. */
GET(get_request_id)
{
    (void)argument;
    struct str given = field_by_name(&f->x->request, STR("X-Request-ID"));
    if (given.len > 0 && given.len <= REQUEST_ID_MAX && chars_are_token(given)) {
        return client(given);
    }
    memcpy(f->scratch, f->start, ATOM_START);
    size_t n = ATOM_START;
    f->scratch[n++] = '-';
    n += digits_put(f->scratch + n, f->x->peer->number, 10);
    f->scratch[n++] = '-';
    n += digits_put(f->scratch + n, f->x->nth, 10);
    return own((struct str){f->scratch, n});
}

GET(get_request_header)
{
    return field_value(field_by_name(&f->x->request, argument));
}

/* The answer */

GET(get_status)
{
    (void)argument;
    const struct response *r = &f->x->response;
    bool left = r->status == 0 || (f->x->aborted && !r->head_sent);
    return number(left ? CLIENT_LEFT : (uint64_t)r->status);
}

GET(get_sent)
{
    (void)argument;
    return number(f->sent);
}

GET(get_response_header)
{
    const struct response *r = &f->x->response;
    if (str_ieq(argument, STR("Content-Length")) && r->content_length >= 0) {
        return number((uint64_t)r->content_length);
    }
    for (size_t i = r->n_fields; i > 0; i--) {
        if (str_ieq(r->fields[i - 1].name, argument)) {
            return field_value(r->fields[i - 1].value);
        }
    }
    return none();
}

/* Time */

GET(get_time)
{
    (void)argument;
    f->scratch[0] = '[';
    memcpy(f->scratch + 1, f->clock->log_time, CLOCK_LOG_TIME_LEN);
    f->scratch[1 + CLOCK_LOG_TIME_LEN] = ']';
    return own((struct str){f->scratch, CLOCK_LOG_TIME_LEN + 2});
}

GET(get_iso_time)
{
    (void)argument;
    return own((struct str){f->scratch, clock_iso(f->clock, f->scratch)});
}

GET(get_seconds)
{
    (void)argument;
    return number(f->took_us / 1000000);
}

GET(get_milliseconds)
{
    (void)argument;
    return number(f->took_us / 1000);
}

GET(get_microseconds)
{
    (void)argument;
    return number(f->took_us);
}

GET(get_decimal_seconds)
{
    (void)argument;
    int n =
        snprintf(f->scratch, sizeof(f->scratch), "%" PRIu64 ".%06" PRIu64, f->took_us / 1000000, f->took_us % 1000000);
    return own((struct str){f->scratch, (size_t)n});
}

/* Nothing when one of them never came: refused, or the client left. */
static struct atom_value between(uint64_t from, uint64_t to)
{
    return from > 0 && to >= from ? number(to - from) : none();
}

GET(get_queue)
{
    (void)argument;
    return between(f->x->ready_us, f->x->begun_us);
}

GET(get_first_byte)
{
    (void)argument;
    return between(f->x->started_us, f->x->answered_us);
}

/* Connection and worker */

GET(get_connection)
{
    (void)argument;
    return number(f->x->peer->number);
}

GET(get_nth)
{
    (void)argument;
    return number(f->x->nth);
}

static struct atom_value own_or_none(const char *z)
{
    return z ? own(str_of(z)) : none();
}

GET(get_tls)
{
    (void)argument;
    return own_or_none(f->x->peer->tls_version);
}

GET(get_cipher)
{
    (void)argument;
    return own_or_none(f->x->peer->tls_cipher);
}

GET(get_worker)
{
    (void)argument;
    return number(f->worker);
}

GET(get_pid)
{
    (void)argument;
    return number((uint64_t)f->pid);
}

GET(get_bracketed_pid)
{
    (void)argument;
    int n = snprintf(f->scratch, sizeof(f->scratch), "<%ld>", f->pid);
    return own((struct str){f->scratch, (size_t)n});
}

/* Variables of WSGI: as the application has left them; where none was called, what comes from the request */

static struct atom_value header_variable(const struct request *r, struct str name)
{
    char header[128];
    if (name.len > sizeof(header)) {
        return none();
    }
    for (size_t i = 0; i < name.len; i++) {
        header[i] = name.p[i] == '_' ? '-' : name.p[i];
    }
    struct str value = field_by_name(r, (struct str){header, name.len});
    if (!value.p && r->aliases) {
        value = field_by_name(r, name);
    }
    return field_value(value);
}

static struct atom_value port(uint16_t n)
{
    return n > 0 ? number(n) : none();
}

GET(get_variable)
{
    const struct request *r = &f->x->request;
    const struct peer *peer = f->x->peer;
    for (size_t i = 0; f->x->variables && i < f->x->wanted->n; i++) {
        if (f->x->wanted->names[i].p == argument.p) {
            return field_value(f->x->variables[i]);
        }
    }
    if (argument.len > 5 && str_ibegins(argument, STR("HTTP_"))) {
        return header_variable(r, (struct str){argument.p + 5, argument.len - 5});
    }
    if (str_ieq(argument, STR("SERVER_PROTOCOL"))) {
        return get_protocol(f, argument);
    }
    if (str_ieq(argument, STR("SERVER_PORT"))) {
        return number(peer->server_port);
    }
    if (str_ieq(argument, STR("REMOTE_ADDR"))) {
        return get_address(f, argument);
    }
    if (str_ieq(argument, STR("REMOTE_PORT"))) {
        return port(peer->port);
    }
    const struct {
        struct str name, value;
    } known[] = {
        {STR("REQUEST_METHOD"), r->method},
        {STR("PATH_INFO"), r->path},
        {STR("RAW_URI"), r->target},
        {STR("QUERY_STRING"), r->query},
        {STR("SERVER_NAME"), str_of(peer->server_addr)},
        {STR("CONTENT_TYPE"), field(r, HEADER_CONTENT_TYPE)},
        {STR("CONTENT_LENGTH"), field(r, HEADER_CONTENT_LENGTH)},
        {STR("wsgi.url_scheme"), r->https ? STR("https") : STR("http")},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (str_ieq(known[i].name, argument)) {
            return field_value(known[i].value);
        }
    }
    return none();
}

/* Names */

GET(get_nothing)
{
    (void)f, (void)argument;
    return none();
}

static const struct {
    const char *name;
    atom_get *get;
    bool times;
} ATOMS[] = {
    {"h", get_address, false},
    {"l", get_nothing, false},
    {"u", get_user, false},
    {"t", get_time, false},
    {"r", get_request_line, false},
    {"s", get_status, false},
    {"m", get_method, false},
    {"U", get_path, false},
    {"q", get_query, false},
    {"H", get_protocol, false},
    {"b", get_sent, false},
    {"B", get_sent, false},
    {"f", get_referer, false},
    {"a", get_agent, false},
    {"T", get_seconds, false},
    {"D", get_microseconds, false},
    {"M", get_milliseconds, false},
    {"L", get_decimal_seconds, false},
    {"p", get_bracketed_pid, false},
    {"time", get_iso_time, false},
    {"target", get_target, false},
    {"version", get_version, false},
    {"queue_us", get_queue, true},
    {"ttfb_us", get_first_byte, true},
    {"bytes_in", get_bytes_in, false},
    {"conn", get_connection, false},
    {"conn_requests", get_nth, false},
    {"tls", get_tls, false},
    {"cipher", get_cipher, false},
    {"request_id", get_request_id, false},
    {"worker", get_worker, false},
    {"pid", get_pid, false},
};

atom_get *atom_find(struct str name, bool *times)
{
    for (size_t i = 0; i < sizeof(ATOMS) / sizeof(ATOMS[0]); i++) {
        if (str_eq(str_of(ATOMS[i].name), name)) {
            *times |= ATOMS[i].times;
            return ATOMS[i].get;
        }
    }
    return NULL;
}

atom_get *atom_find_braced(char letter)
{
    switch (letter) {
    case 'i':
        return get_request_header;
    case 'o':
        return get_response_header;
    case 'e':
        return get_variable;
    default:
        return NULL;
    }
}

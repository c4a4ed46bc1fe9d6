/* request.c - what a request says, judged by RFC 9110 and RFC 9112. */
#include "server/http/request.h"

#include <arpa/inet.h>

#include "server/http/chars.h"

static const struct {
    struct str name;
    const char *environ_key;
} KNOWN[] = {
    {{"", 0}, NULL},
#define HEADER(id, name, environ_key) {{name, sizeof(name) - 1}, environ_key},
#include "server/http/headers.def"
#undef HEADER
};

/* Open addressing over length and three letters; filled before main and constant from then on. */
#define SLOTS 256
static unsigned char slots[SLOTS];

static unsigned hash(struct str name)
{
    unsigned first = (unsigned char)name.p[0] | 0x20u;
    unsigned middle = (unsigned char)name.p[name.len / 2] | 0x20u;
    unsigned last = (unsigned char)name.p[name.len - 1] | 0x20u;
    return (unsigned)name.len * 29u + first * 7u + middle * 53u + last * 3u;
}

__attribute__((constructor)) static void fill_slots(void)
{
    for (unsigned id = 1; id < HEADER_COUNT; id++) {
        unsigned i = hash(KNOWN[id].name);
        while (slots[i % SLOTS]) {
            i++;
        }
        slots[i % SLOTS] = (unsigned char)id;
    }
}

enum header_id header_lookup(struct str name)
{
    if (name.len == 0) {
        return HEADER_OTHER;
    }
    for (unsigned i = hash(name); slots[i % SLOTS]; i++) {
        unsigned id = slots[i % SLOTS];
        if (str_eq(KNOWN[id].name, name) || str_ieq(KNOWN[id].name, name)) { /* most spell it as we do */
            return (enum header_id)id;
        }
    }
    return HEADER_OTHER;
}

const char *header_environ_key(enum header_id id)
{
    return KNOWN[id].environ_key;
}

const struct header *request_header(const struct request *r, enum header_id id)
{
    for (size_t i = 0; i < r->n_headers; i++) {
        if (r->headers[i].id == id) {
            return &r->headers[i];
        }
    }
    return NULL;
}

bool request_next_token(struct str *list, struct str *token)
{
    const char *p = list->p, *end = p + list->len;
    while (p < end && (*p == ',' || *p == ' ' || *p == '\t')) {
        p++;
    }
    const char *start = p;
    while (p < end && *p != ',') {
        p++;
    }
    *list = (struct str){p, (size_t)(end - p)};
    while (p > start && (p[-1] == ' ' || p[-1] == '\t')) {
        p--;
    }
    *token = (struct str){start, (size_t)(p - start)};
    return token->len > 0;
}

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 3986 3.2.2. */
static bool is_registered_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '%' && i + 2 < s.len && is_hex(s.p[i + 1]) && is_hex(s.p[i + 2])) {
            i += 2;
        } else if (!chars_is_host(s.p[i])) {
            return false;
        }
    }
    return true;
}

static bool is_ipv6(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (s.len >= sizeof(text)) {
        return false;
    }
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    return strlen(text) == s.len && inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_port(struct str s)
{
    unsigned n = 0;
    if (s.len > 5 || (s.len > 0 && !all_digits(s))) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        n = n * 10 + (unsigned)(s.p[i] - '0');
    }
    return n <= UINT16_MAX;
}

/* RFC 3986 3.2.2: a registered name or an IPv4 address, or "[...]" for IPv6; and a port of digits. All of it may be
 * empty (RFC 9112 3.2), the name alone may not. */
static bool host_is_valid(struct str host)
{
    struct str name = host, port = STR("");
    const char *close = host.len > 0 && host.p[0] == '[' ? memchr(host.p, ']', host.len) : NULL;
    const char *colon = close ? close + 1 : host.len ? memchr(host.p, ':', host.len) : NULL;

    if (colon && colon < host.p + host.len) {
        if (*colon != ':' || colon == host.p) {
            return false;
        }
        name.len = (size_t)(colon - host.p);
        port = (struct str){colon + 1, host.len - name.len - 1};
    }
    return is_port(port) && (close ? is_ipv6((struct str){name.p + 1, name.len - 2}) : is_registered_name(name));
}

/* Takes the target apart: RFC 9112 3.2. */
static int check_target(struct request *r, const char **reason)
{
    struct str t = r->target;
    if (str_eq(r->method, STR("CONNECT"))) {
        *reason = "CONNECT is not supported";
        return 501;
    }
    if (memchr(t.p, '#', t.len)) {
        *reason = "The request target has a fragment";
        return 400;
    }
    if (str_eq(t, STR("*"))) {
        r->path = r->query = STR("");
        *reason = "The request target * is for OPTIONS only";
        return str_eq(r->method, STR("OPTIONS")) ? 0 : 400;
    }
    if (t.len == 0 || t.p[0] != '/') {
        size_t scheme = str_ibegins(t, STR("http://")) ? 7 : str_ibegins(t, STR("https://")) ? 8 : 0;
        if (!scheme) {
            *reason = "The request target is neither a path nor an absolute URL";
            return 400;
        }
        struct str rest = {t.p + scheme, t.len - scheme};
        size_t n = 0;
        while (n < rest.len && rest.p[n] != '/' && rest.p[n] != '?') {
            n++;
        }
        /* RFC 9112 3.2.2: the target's authority counts, not what Host says. */
        r->host = (struct str){rest.p, n};
        if (n == 0 || !host_is_valid(r->host)) {
            *reason = "The host in the request target is malformed";
            return 400;
        }
        t = (struct str){rest.p + n, rest.len - n};
    }
    const char *mark = t.len ? memchr(t.p, '?', t.len) : NULL;
    r->path = mark ? (struct str){t.p, (size_t)(mark - t.p)} : t;
    r->query = mark ? (struct str){mark + 1, t.len - r->path.len - 1} : STR("");
    if (r->path.len == 0) {
        r->path = STR("/");
    }
    return 0;
}

static int check_length(struct request *r, const struct header *h, const char **reason)
{
    /* RFC 9112 6.3: a list, a sign, a second field: any of these may be smuggling; we never guess. */
    if (r->content_length >= 0 || !all_digits(h->value) || h->value.len > 18) {
        *reason = "Invalid Content-Length";
        return 400;
    }
    r->content_length = 0;
    for (size_t i = 0; i < h->value.len; i++) {
        r->content_length = r->content_length * 10 + (h->value.p[i] - '0');
    }
    return 0;
}

static int check_coding(struct request *r, const struct header *h, const char **reason)
{
    if (r->chunked || r->minor == 0) {
        *reason = r->chunked ? "More than one Transfer-Encoding" : "Transfer-Encoding in HTTP/1.0";
        return 400;
    }
    if (!str_ieq(h->value, STR("chunked"))) {
        *reason = "Only the transfer coding chunked is supported";
        return 501;
    }
    r->chunked = true;
    return 0;
}

/* What the Connection fields say, all of them together. */
struct wishes {
    bool close, keep_alive, upgrade;
};

static void read_connection(struct wishes *w, struct str list)
{
    struct str token;
    while (request_next_token(&list, &token)) {
        w->close |= str_ieq(token, STR("close"));
        w->keep_alive |= str_ieq(token, STR("keep-alive"));
        w->upgrade |= str_ieq(token, STR("upgrade"));
    }
}

static bool names_websocket(struct str list)
{
    struct str token;
    bool found = false;
    while (!found && request_next_token(&list, &token)) {
        found = str_ieq(token, STR("websocket"));
    }
    return found;
}

static int check_expect(struct request *r, const struct header *h, const char **reason)
{
    if (r->minor == 0) {
        return 0; /* RFC 9110 10.1.1: ignored there */
    }
    if (!str_ieq(h->value, STR("100-continue"))) {
        *reason = "Unknown expectation";
        return 417;
    }
    r->expect_continue = true;
    return 0;
}

/* What is found on the way through the fields. */
struct found {
    bool absolute; /* the target has a host of its own */
    unsigned hosts, types;
    struct wishes wishes;
};

static int check_host(struct request *r, struct header *h, bool absolute, const char **reason)
{
    if (!host_is_valid(h->value)) {
        *reason = "Malformed Host";
        return 400;
    }
    if (absolute) {
        h->value = r->host; /* RFC 9112 3.2.2: an origin server replaces what Host said */
    } else {
        r->host = h->value;
    }
    return 0;
}

static int check_field(struct request *r, struct header *h, struct found *found, const char **reason)
{
    switch (h->id) {
    case HEADER_HOST:
        found->hosts++;
        return check_host(r, h, found->absolute, reason);
    case HEADER_CONTENT_TYPE:
        found->types++;
        return 0;
    case HEADER_CONTENT_LENGTH:
        return check_length(r, h, reason);
    case HEADER_TRANSFER_ENCODING:
        return check_coding(r, h, reason);
    case HEADER_CONNECTION:
        read_connection(&found->wishes, h->value);
        return 0;
    case HEADER_UPGRADE:
        r->websocket |= names_websocket(h->value);
        return 0;
    case HEADER_EXPECT:
        return check_expect(r, h, reason);
    default:
        return 0;
    }
}

static int check_fields(struct request *r, const char **reason)
{
    struct found found = {.absolute = r->host.len > 0};

    for (size_t i = 0; i < r->n_headers; i++) {
        int status = check_field(r, &r->headers[i], &found, reason);
        if (status) {
            return status;
        }
    }
    if (found.hosts > 1 || (found.hosts == 0 && r->minor > 0)) {
        *reason = found.hosts ? "More than one Host" : "Missing Host"; /* RFC 9112 3.2 */
        return 400;
    }
    if (found.types > 1) {
        *reason = "More than one Content-Type";
        return 400;
    }
    /* RFC 9112 9.3: close wins; HTTP/1.0 closes unless asked not to. */
    r->keep_alive = !found.wishes.close && (r->minor > 0 || found.wishes.keep_alive);
    /* RFC 9110 7.8: Upgrade counts when Connection names it, and not in HTTP/1.0; a body would come before it. */
    r->websocket = r->websocket && found.wishes.upgrade && r->minor > 0 && str_eq(r->method, STR("GET")) &&
                   !r->chunked && r->content_length <= 0;
    return 0;
}

int request_check(struct request *r, const struct request_limits *limits, const char **reason)
{
    r->content_length = -1;
    r->chunked = r->expect_continue = r->websocket = false;
    r->host = STR("");

    int status = check_target(r, reason);
    if (status == 0) {
        status = check_fields(r, reason);
    }
    if (status) {
        return status;
    }
    if (r->chunked && r->content_length >= 0) {
        *reason = "Content-Length together with Transfer-Encoding"; /* RFC 9112 6.3: possible smuggling */
        return 400;
    }
    if (limits->body && r->content_length > 0 && (uint64_t)r->content_length > limits->body) {
        *reason = "The request body is larger than this server takes";
        return 413;
    }
    return 0;
}

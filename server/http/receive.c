/* receive.c - one request of HTTP/1.1 as it comes: its bytes judged, parsed, and put into an exchange. */
#include "server/http/receive.h"

#include <string.h>

#include "server/base/ascii.h"
#include "server/base/log.h"
#include "server/http/body.h"
#include "server/http/chars.h"
#include "server/http/exchange.h"
#include "server/http/forward.h"
#include "server/http/http.h"

#define BODY_IN_MEMORY (128 * 1024)

/* The verdict: for callbacks of the parser, too, which -1 ends. */
static int refuse(struct receiver *r, int status, const char *reason)
{
    r->status = status;
    r->reason = reason;
    return -1;
}

/* What the parser finds. All texts of a head come in one piece, since it is given whole heads. */

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    const struct receiver *r = parser->data;
    const struct str *target = &r->x->request.target;
    return target->p == at && target->len == len ? 0 : -1; /* the parser and we agree on what the target is */
}

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    const struct receiver *r = parser->data;
    struct request *q = &r->x->request;
    if (r->in_body) {
        return 0; /* trailers are read and thrown away: chunkscan.h */
    }
    if (q->n_headers == r->n_headers_max) {
        return -1;
    }
    q->headers[q->n_headers++] = (struct header){.name = {at, len}, .id = header_lookup((struct str){at, len})};
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    const struct receiver *r = parser->data;
    struct request *q = &r->x->request;
    if (r->in_body) {
        return 0;
    }
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t')) {
        len--; /* RFC 9112 5.1: white space around a value is no part of it */
    }
    q->headers[q->n_headers - 1].value = (struct str){at, len};
    return 0;
}

static int on_headers_complete(llhttp_t *parser)
{
    struct receiver *r = parser->data;
    struct request *q = &r->x->request;
    r->status = request_check(q, &r->http->limits, &r->reason);
    if (!r->status) {
        r->status = forward_apply(r->http->forward, r->trusted, q, &r->reason);
    }
    if (r->status) {
        return -1;
    }
    parser->upgrade = 0; /* RFC 9110 7.8: what follows is HTTP, unless the application answers 101 */
    r->in_body = true;
    return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    struct receiver *r = parser->data;
    struct exchange *x = r->x;
    const struct request *q = &x->request;

    if (!x->body && !(x->body = body_create(BODY_IN_MEMORY, r->http->tmp_dir))) {
        return refuse(r, 500, "The server is short of memory");
    }
    int e = body_append(x->body, at, len);
    if (e < 0) {
        log_error("Cannot keep the body of %.*s %.*s: %s; see the setting tmp_upload_dir", (int)q->method.len,
                  q->method.p, (int)q->target.len, q->target.p, strerror(-e));
        return refuse(r, 500, "The server cannot store the request");
    }
    return 0;
}

static int on_message_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED; /* what follows is the next request */
}

static const llhttp_settings_t *parser_settings(void)
{
    static const llhttp_settings_t settings = {
        .on_url = on_url,
        .on_header_field = on_field,
        .on_header_value = on_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    return &settings;
}

/* Refusals */

/* Why the parser does not go on. HPE_OK: it wants more than a whole head. */
static void refuse_parse_error(struct receiver *r, enum llhttp_errno error)
{
    struct str method = r->x->request.method;
    if (r->status) {
        return; /* a callback has said why */
    }
    if (r->in_body) {
        refuse(r, 400, "Malformed chunk in the request body");
        return;
    }
    switch ((int)error) {
    case HPE_INVALID_METHOD:
        if (!chars_are_token(method) || method.p[0] < 'A' || method.p[0] > 'Z') {
            refuse(r, 400, "Invalid request method");
            break;
        }
        refuse(r, 501, "Unknown request method");
        break;
    case HPE_INVALID_CONSTANT: /* a method of RTSP's */
        refuse(r, 501, "Unknown request method");
        break;
    case HPE_INVALID_VERSION:
        refuse(r, 400, "Invalid HTTP version");
        break;
    case HPE_INVALID_URL:
        refuse(r, 400, "Invalid character in the request target");
        break;
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        refuse(r, 400, "Invalid Content-Length");
        break;
    case HPE_INVALID_TRANSFER_ENCODING:
        refuse(r, 400, "Invalid Transfer-Encoding");
        break;
    case HPE_INVALID_HEADER_TOKEN:
        refuse(r, 400, "Invalid header field");
        break;
    default:
        refuse(r, 400, "The request cannot be understood");
        break;
    }
}

/* Cuts a request line into its three parts: RFC 9112 3, one space between them. False when it is none; what can be told
 * of it is filled in all the same. */
static bool split_request_line(struct request *q, struct str line)
{
    const char *end = line.p + line.len;
    const char *first = line.len ? memchr(line.p, ' ', line.len) : NULL;
    const char *second = first ? memchr(first + 1, ' ', (size_t)(end - first - 1)) : NULL;
    if (!first) {
        return false;
    }
    q->method = (struct str){line.p, (size_t)(first - line.p)};
    q->target = (struct str){first + 1, (size_t)((second ? second : end) - first - 1)};
    if (!second || first == line.p || second == first + 1 || end - second != 9 || memcmp(second + 1, "HTTP/", 5) != 0 ||
        second[7] != '.') {
        return false;
    }
    q->major = (unsigned char)(second[6] - '0');
    q->minor = (unsigned char)(second[8] - '0');
    return q->major <= 9 && q->minor <= 9;
}

/* The first line of a head that lies in the arena, without its end. */
static struct str first_line(struct str head)
{
    while (head.len > 0 && (*head.p == '\r' || *head.p == '\n')) {
        head.p++;
        head.len--;
    }
    const char *end = head.len ? memchr(head.p, '\r', head.len) : NULL;
    return (struct str){head.p, end ? (size_t)(end - head.p) : head.len};
}

/* A head that was refused before the parser saw it, or that will not be completed. */
static void note_request_line(struct receiver *r, struct str head)
{
    struct request *q = &r->x->request;
    char *copy = head.len ? arena_dup(&r->x->arena, head.p, head.len) : NULL;
    if (!copy) {
        return; /* the answer does without */
    }
    struct str line = first_line((struct str){copy, head.len});
    size_t good = 0; /* behind a byte that may not be there, nothing was looked at */
    while (good < line.len && chars_are_field_text((struct str){line.p + good, 1})) {
        good++;
    }
    if (!split_request_line(q, (struct str){line.p, good})) {
        q->major = q->minor = 0;
    }
}

/* Receiving */

struct receiver *receive_begin(const struct http *http, bool trusted, struct exchange *x)
{
    struct receiver *r = arena_alloc(&x->arena, sizeof(*r));
    if (r) {
        *r = (struct receiver){.http = http, .trusted = trusted, .x = x};
    }
    return r;
}

void receive_give_up(struct receiver *r)
{
    if (!r->in_body) {
        note_request_line(r, (struct str){r->head.data, r->head.len});
    }
    buf_finish(&r->head);
}

static void to_upper(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        text[i] = ascii_upper(text[i]);
    }
}

static enum llhttp_errno run_parser(struct receiver *r, const char *head, size_t len)
{
    struct str method = r->x->request.method;
    llhttp_init(&r->parser, HTTP_REQUEST, parser_settings());
    r->parser.data = r;
    enum llhttp_errno error = llhttp_execute(&r->parser, head, len);
    bool unknown = error == HPE_INVALID_METHOD || error == HPE_INVALID_CONSTANT;
    if (unknown && r->http->any_method && chars_are_token(method)) {
        static const char KNOWN[] = "PUT"; /* in its place: the parser frames all that it knows of in the same way */
        const char *rest = method.p + method.len;
        llhttp_reset(&r->parser);
        llhttp_execute(&r->parser, KNOWN, sizeof(KNOWN) - 1);
        error = llhttp_execute(&r->parser, rest, (size_t)(head + len - rest));
    }
    return error;
}

/* The head is complete, and in the arena: so are all names and values that the parser points to. */
static enum received parse_head(struct receiver *r, char *head, size_t len)
{
    struct request *q = &r->x->request;
    if (!split_request_line(q, first_line((struct str){head, len}))) {
        q->major = q->minor = 0;
        refuse(r, 400, "Invalid request line");
        return RECEIVED_REFUSED;
    }
    if (q->major != 1) {
        refuse(r, 505, "Only HTTP/1.0 and HTTP/1.1 are spoken here");
        return RECEIVED_REFUSED;
    }
    r->n_headers_max = r->scan.lines - 1;
    q->headers = arena_alloc(&r->x->arena, (r->n_headers_max + 1) * sizeof(*q->headers));
    if (!q->headers) {
        return RECEIVED_FAILED;
    }
    if (r->http->casefold_method) {
        to_upper(head + (q->method.p - head), q->method.len);
    }
    enum llhttp_errno error = run_parser(r, head, len);
    if (error == HPE_PAUSED) {
        return RECEIVED_WHOLE;
    }
    if (error == HPE_OK && r->in_body) {
        return RECEIVED_HEAD;
    }
    refuse_parse_error(r, error);
    return RECEIVED_REFUSED;
}

static enum received receive_head(struct receiver *r, const char *data, size_t len, size_t *used)
{
    r->status = headscan_feed(&r->scan, data, len, &r->http->limits, used, &r->reason);
    bool whole = (r->scan.complete || r->status) && r->head.len == 0;
    if (!whole && buf_append(&r->head, data, *used) < 0) {
        return RECEIVED_FAILED;
    }
    struct str head = whole ? (struct str){data, *used} : (struct str){r->head.data, r->head.len};
    if (r->status) {
        note_request_line(r, head);
        buf_finish(&r->head);
        return RECEIVED_REFUSED;
    }
    if (!r->scan.complete) {
        return RECEIVED_SOME;
    }
    char *copy = arena_dup(&r->x->arena, head.p, head.len);
    buf_finish(&r->head);
    return copy ? parse_head(r, copy, head.len) : RECEIVED_FAILED;
}

/* Some bytes of a body: all that can be handed to the parser at once. */
static enum received receive_body(struct receiver *r, const char *data, size_t len, size_t *used)
{
    const char *reason = NULL;
    bool hidden = false;
    int status = 0;
    *used = len;
    if (r->x->request.chunked) {
        status = chunkscan_feed(&r->chunks, data, len, &r->http->limits, used, &hidden, &reason);
    }
    /* What is good goes to the parser even so: it may have refused something that came before. */
    enum llhttp_errno error = hidden ? HPE_OK : llhttp_execute(&r->parser, data, *used);
    if (error == HPE_PAUSED) {
        *used = (size_t)(llhttp_get_error_pos(&r->parser) - data);
        return RECEIVED_WHOLE;
    }
    if (error == HPE_OK && status) {
        refuse(r, status, reason);
    } else if (error != HPE_OK || r->chunks.state == CHUNKSCAN_END) { /* at the end, the parser ends, too */
        refuse_parse_error(r, error);
    } else {
        return RECEIVED_SOME;
    }
    return RECEIVED_REFUSED;
}

enum received receive(struct receiver *r, const char *data, size_t len, size_t *used)
{
    enum received got = r->in_body ? receive_body(r, data, len, used) : receive_head(r, data, len, used);
    r->x->bytes_in += *used;
    return got;
}

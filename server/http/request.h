/* request.h - method, target, headers: what a request says, and the limits and refusals common to all protocols.
 * Filled by the protocol on the loop thread; read-only once the exchange is handed to an executor. All text lives
 * in the exchange's arena. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/str.h"

/* Names that we look at ourselves or that nearly every request carries: found once, then compared as a number. */
enum header_id {
    HEADER_OTHER = 0,
#define HEADER(id, name, environ_key) HEADER_##id,
#include "server/http/headers.def"
#undef HEADER
    HEADER_COUNT
};

struct header {
    struct str name;  /* as the client spelt it; arena */
    struct str value; /* without surrounding white space; arena */
    enum header_id id;
};

struct request_limits {
    size_t line;       /* longest request line in bytes; 0: none (--limit-request-line) */
    size_t field_size; /* longest field line (--limit-request-field_size) */
    size_t fields;     /* most fields (--limit-request-fields) */
    uint64_t body;     /* longest body; 0: none (--limit-request-body) */
};

struct request {
    struct str method;
    struct str target;          /* as received: RAW_URI */
    struct str path;            /* of the target, still percent-encoded; "" for "*" */
    struct str query;           /* behind "?", or "" */
    unsigned char major, minor; /* of the HTTP version */
    bool chunked;               /* the body comes in chunks (or, later, without a declared length) */
    bool expect_continue;
    bool keep_alive;        /* the client's side of it */
    bool websocket;         /* the client asks to go on in WebSocket's way: RFC 6455 4.2.1 */
    int64_t content_length; /* -1: not given */
    struct header *headers; /* in the order received; arena */
    size_t n_headers;
    struct str host;        /* of the Host field or an absolute-form target; "" in HTTP/1.0 without one */
    bool https;             /* the scheme: the connection's, unless a front end says otherwise (forward.h) */
    bool aliases;           /* names with underscores are among the headers: two names may be one key in environ */
    struct str script_name; /* from a front end, in place of the environment's; p is NULL without one */
};

enum header_id header_lookup(struct str name);
const char *header_environ_key(enum header_id id); /* "HTTP_HOST", "CONTENT_TYPE", …; NULL for HEADER_OTHER */

/* The first header with that id, or NULL. */
const struct header *request_header(const struct request *r, enum header_id id);

/* The next element of a comma-separated list (RFC 9110 5.6.1), which is shortened by it. False at the end. */
bool request_next_token(struct str *list, struct str *token);

/* Judges a complete head: RFC 9112 3, 6; RFC 9110 7.2. Fills path, query, host, content_length, chunked,
 * expect_continue, keep_alive. Returns 0 when it is acceptable, else the status to answer with (400, 413, 417, 501),
 * and `*reason` says why in one line (static text). */
int request_check(struct request *r, const struct request_limits *limits, const char **reason);

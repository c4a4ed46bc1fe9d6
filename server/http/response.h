/* response.h - status, headers, body queue; how the body will be framed.
 * Filled by the application's side (wsgi/), drained by the protocol (http1). The header block is kept as it goes out
 * in HTTP/1.1 ("Name: value\r\n" lines), with an index for whoever wants the fields. All text is copied into the
 * exchange's arena. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/str.h"
#include "server/net/chunk.h"

struct arena;

struct field {
    struct str name, value; /* in the arena */
};

struct response {
    struct arena *arena;    /* borrowed: the exchange's */
    struct str status_line; /* "200 OK"; empty until response_start */
    int status;             /* 200; 0 until response_start */
    struct str block;       /* the header lines, each ended by CR LF; without Date, Server, framing */
    size_t block_cap;
    struct field *fields;
    size_t n_fields, fields_cap;
    int64_t content_length; /* declared by the application; -1: not known */
    bool to_head;           /* the request was HEAD: set by the protocol */
    bool head_sent;         /* the protocol has put the head on the wire: status and headers are final */
    bool no_body;           /* to HEAD, or 204 or 304: body bytes are dropped (RFC 9110 6.4.1) */
    bool finished;          /* no more chunks will come */
    uint64_t body_bytes;    /* accepted so far, after the cut at content_length */
    uint64_t dropped_bytes; /* what the application gave beyond content_length */
    struct chunkq queue;    /* body that the protocol has not taken yet */
    struct str hints;       /* interim answers that it has not taken yet; in the arena */
};

enum response_error {
    RESPONSE_OK = 0,
    RESPONSE_BAD_STATUS, /* not "NNN reason", or not 200 to 999 (1xx cannot be final) */
    RESPONSE_BAD_NAME,   /* not a token (RFC 9110 5.1) */
    RESPONSE_BAD_VALUE,  /* CR, LF, NUL or another control character */
    RESPONSE_OURS,       /* Date and Server are the server's own: the field is ignored */
    RESPONSE_HOP_BY_HOP, /* so are those of this connection: the field is ignored, as gunicorn does */
    RESPONSE_BAD_LENGTH, /* Content-Length is not one plain number, or two differ */
    RESPONSE_NO_MEMORY,
};

static inline bool response_has_output(const struct response *r) /* for the protocol to take */
{
    return !chunkq_is_empty(&r->queue) || r->hints.len > 0;
}

void response_init(struct response *r, struct arena *arena);
void response_finish(struct response *r); /* releases the chunks that nobody took */

/* Status and headers: start, then one call a field. Starting again (start_response with exc_info) drops all
 * fields; not allowed once head_sent. `status` is latin-1 "200 OK". */
enum response_error response_start(struct response *r, struct str status);
enum response_error response_add(struct response *r, struct str name, struct str value);

/* An interim answer, 103 Early Hints (RFC 8297), for the protocol to take. Not allowed once head_sent. On failure
 * nothing has changed, and `*bad` is which field was at fault. */
enum response_error response_hint(struct response *r, const struct field *fields, size_t n, size_t *bad);

/* The body. Takes the chunk over in every case: it is released at once when there is no body to send or its bytes
 * lie beyond content_length (and cut when they reach over it). 0 or -ENOMEM (released too). */
int response_push(struct response *r, const struct chunk *c);
/* The same with a copy of the bytes into the arena. */
int response_push_copy(struct response *r, const void *data, size_t len);

/* The application is through; once more is nothing: the response may be out of the caller's hands. Sets content_length
 * when the head was not sent yet and it is not known. */
void response_end(struct response *r);

/* True when it was ended with as many bytes as its head says: nothing that follows can change it. */
bool response_is_whole(const struct response *r);

/* True when fewer bytes than declared were given and no more will come: the framing is broken. */
bool response_is_short(const struct response *r);

/* Makes this the answer with `status` (308, a 4xx or 5xx that we send ourselves) and a small page that says `message`
 * (static text, plain). What was there is dropped; not allowed once head_sent. 0 or -ENOMEM. */
int response_refuse(struct response *r, int status, const char *message);

/* framing.h - a response as HTTP/1.1 puts it on the wire: its head, and its body in pieces (RFC 9112 4, 6, 7.1). */
#pragma once

#include <stdbool.h>

#include "server/base/str.h"
#include "server/net/chunk.h"

struct exchange;
struct http;

enum framing {
    FRAMING_LENGTH,  /* Content-Length, or no body at all */
    FRAMING_CHUNKED, /* RFC 9112 7.1 */
    FRAMING_CLOSE,   /* the end of the connection is the end of the body: HTTP/1.0 */
};

enum framing framing_of(const struct exchange *x);

/* The head of x->response, with `more` lines of our own, as one chunk in the arena. False when memory is short. The
 * response is only read: the application's thread may be reading it, too. */
bool framing_head(struct exchange *x, enum framing framing, bool keep_alive, const struct http *http, struct str more,
                  struct chunk *out);

/* Moves chunks of a body into `out`, framed, as many as `max` places take (3 or more): all of them become one chunk on
 * the wire. Returns how many places were filled, or -ENOMEM: then nothing was moved. None of `body` is empty. */
int framing_body(struct chunkq *body, enum framing framing, struct chunk *out, int max);

/* What ends a chunked body. */
struct chunk framing_last(void);

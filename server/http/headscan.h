/* headscan.h - judges the raw bytes of a request head line by line, before the parser sees them.
 * The parser (llhttp) lets through what differs from one of its versions to the next: line feeds without carriage
 * return, folded lines, control characters. Two programs that read such a head differently are how requests are
 * smuggled, so it is refused here, whatever the parser says: RFC 9112 2.2, 5.1, 5.2. Limits are kept here, too:
 * bytes that would exceed them are never stored. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct request_limits;

struct headscan {
    size_t line_len; /* of the line that is being received, without its end */
    size_t lines;    /* complete ones, the request line included */
    size_t blank;    /* empty lines before the request line (RFC 9112 2.2) */
    bool cr;         /* the last byte was CR */
    bool complete;   /* the empty line that ends the head was seen */
};

/* Looks at `len` more bytes of a head. Returns 0, else the status to refuse with, and `*reason` says why (static
 * text). Stops at the end of the head (`complete`), or where it is refused; what follows `*used` bytes was not looked
 * at. */
int headscan_feed(struct headscan *s, const char *data, size_t len, const struct request_limits *limits, size_t *used,
                  const char **reason);

/* chunkscan.h - judges the raw bytes of a chunked body before the parser decodes them: RFC 9112 7.1.
 * As with heads (headscan.h): what one version of the parser lets through and another does not, or what a proxy may
 * read otherwise, is refused here. A size is hexadecimal digits and nothing else; an extension follows at once behind a
 * semicolon, without white space, and is kept from the parser, of which each version refuses others; every line ends in
 * CR LF; trailers are lines as in a head, and none may say what only a head may say. A
 * chunk that would exceed the limit of bodies is refused before it comes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/http/headscan.h"

struct chunkscan {
    enum {
        CHUNKSCAN_SIZE,
        CHUNKSCAN_NAME_START, /* of an extension: behind the semicolon */
        CHUNKSCAN_NAME,
        CHUNKSCAN_VALUE_START,
        CHUNKSCAN_VALUE,
        CHUNKSCAN_QUOTED,
        CHUNKSCAN_ESCAPED,
        CHUNKSCAN_QUOTED_END,
        CHUNKSCAN_SIZE_LF,
        CHUNKSCAN_DATA,
        CHUNKSCAN_DATA_CR,
        CHUNKSCAN_DATA_LF,
        CHUNKSCAN_TRAILERS,
        CHUNKSCAN_END, /* the line that ends the body was seen */
    } state;
    uint64_t left;            /* of a chunk: its size as far as it is known, then what has not come yet */
    uint64_t announced;       /* the sizes of all chunks */
    size_t line_len;          /* of the line with the size */
    size_t trailer_len;       /* of all trailers */
    struct headscan trailers; /* reads them as the lines of a head behind the first */
    char name[32];            /* of the trailer that is being read: room for every name that we know */
    size_t name_len;          /* more than the room: no name that we know, or the value has begun */
};

/* Looks at bytes of a body, `len` of them at most. Returns 0, else the status to refuse with, and `*reason` says why
 * (static text). `*used` bytes belong to the body and are good. All of them are an extension (`*hidden`), or none is;
 * behind the body's end (CHUNKSCAN_END) nothing is looked at. A zeroed struct stands before the first byte. */
int chunkscan_feed(struct chunkscan *s, const char *data, size_t len, const struct request_limits *limits, size_t *used,
                   bool *hidden, const char **reason);

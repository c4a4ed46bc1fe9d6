/* headscan.c - judges the raw bytes of a request head line by line, before the parser sees them. */
#include "server/http/headscan.h"

#include <string.h>

#include "server/http/chars.h"
#include "server/http/request.h"

#define BLANK_MAX 4 /* empty lines that are overlooked: RFC 9112 2.2 asks for one */

/* The bytes of a line, or of the part of it that has arrived, without its end. */
static int check_piece(struct headscan *s, struct str piece, const struct request_limits *limits, const char **reason)
{
    bool first = s->line_len == 0;
    if (piece.len == 0) {
        return 0;
    }
    if (s->cr) {
        *reason = "A line ends in CR without LF";
        return 400;
    }
    if (first && s->lines > 0 && (piece.p[0] == ' ' || piece.p[0] == '\t')) {
        *reason = "A header line is folded"; /* RFC 9112 5.2 */
        return 400;
    }
    if (first && s->lines > 0 && piece.p[0] == ':') {
        *reason = "A header field has no name";
        return 400;
    }
    if (!chars_are_field_text(piece)) {
        *reason = "A control character in the request head";
        return 400;
    }
    s->line_len += piece.len;
    if (s->lines == 0) {
        if (limits->line && s->line_len > limits->line) {
            *reason = "The request line is too long";
            return 400; /* 414 would do; scripts written for gunicorn look for 400 */
        }
        return 0;
    }
    if (limits->field_size && s->line_len > limits->field_size) {
        *reason = "A header field is too long";
        return 431;
    }
    if (first && s->lines > limits->fields) {
        *reason = "Too many header fields";
        return 431;
    }
    return 0;
}

int headscan_feed(struct headscan *s, const char *data, size_t len, const struct request_limits *limits, size_t *used,
                  const char **reason)
{
    *used = len;
    const char *p = data, *end = data + len;
    while (p < end && !s->complete) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const char *stop = lf ? lf : end;
        /* CR is the last byte of the piece, or it is a control character like any other. */
        bool cr = stop > p && stop[-1] == '\r';
        int status = check_piece(s, (struct str){p, (size_t)(stop - p) - cr}, limits, reason);
        if (status) {
            return status;
        }
        if (cr && s->cr) {
            *reason = "A line ends in CR without LF";
            return 400;
        }
        s->cr |= cr;
        if (!lf) {
            return 0;
        }
        if (!s->cr) {
            *reason = "A line ends in LF without CR";
            return 400;
        }
        s->cr = false;
        if (s->line_len > 0) {
            s->lines++;
        } else if (s->lines == 0 && ++s->blank > BLANK_MAX) {
            *reason = "Too many empty lines before the request";
            return 400;
        } else if (s->lines > 0) {
            s->complete = true;
            *used = (size_t)(lf + 1 - data);
        }
        s->line_len = 0;
        p = lf + 1;
    }
    return 0;
}

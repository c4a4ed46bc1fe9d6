/* headscan.c - judges the raw bytes of a request head line by line, before the parser sees them. */
#include "server/http/headscan.h"

#include <string.h>

#include "server/http/chars.h"
#include "server/http/request.h"

#define BLANK_MAX 4 /* empty lines that are overlooked: RFC 9112 2.2 asks for one */

/* The bytes of a line, or of the part of it that has arrived, without its end. The first byte that is wrong counts, so
 * that the verdict does not depend on how the bytes are cut: nothing behind the byte that exceeds a limit is judged,
 * and the piece is shortened accordingly. */
static int check_piece(struct headscan *s, struct str *all, const struct request_limits *limits, const char **reason)
{
    struct str piece = *all;
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
    bool too_many = first && s->lines > limits->fields;
    size_t limit = s->lines > 0 ? limits->field_size : limits->line;
    bool too_long = limit && piece.len > limit - s->line_len;
    struct str judged = {piece.p, too_many ? 1 : too_long ? limit - s->line_len + 1 : piece.len};
    *all = judged;
    if (!chars_are_field_text(judged)) {
        const char *cr = memchr(judged.p, '\r', judged.len);
        bool is_cr = cr && chars_are_field_text((struct str){judged.p, (size_t)(cr - judged.p)});
        *reason = is_cr ? "A line ends in CR without LF" : "A control character in the request head";
        return 400;
    }
    s->line_len += piece.len;
    if (too_many) {
        *reason = "Too many header fields";
        return 431;
    }
    if (too_long && s->lines == 0) {
        *reason = "The request line is too long";
        return 414; /* RFC 9112 3 */
    }
    if (too_long) {
        *reason = "A header field is too long";
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
        struct str piece = {p, (size_t)(stop - p) - cr};
        int status = check_piece(s, &piece, limits, reason);
        *used = (size_t)((lf ? lf + 1 : end) - data);
        if (status) {
            *used = (size_t)(piece.p + piece.len - data);
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
        }
        s->line_len = 0;
        p = lf + 1;
    }
    return 0;
}

/* chunkscan.c - judges the raw bytes of a chunked body before the parser decodes them. */
#include "server/http/chunkscan.h"

#include "server/http/chars.h"
#include "server/http/request.h"

#define DIGITS_MAX 16 /* what 64 bits hold */
#define LINE_MAX_LEN 256
#define TRAILERS_MAX (8 * 1024)

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One byte of an extension: RFC 9112 7.1.1, less the white space that nobody may send. */
static bool take_extension(struct chunkscan *s, char c)
{
    bool token = chars_are_token((struct str){&c, 1}), may_end = false;
    if (++s->line_len >= LINE_MAX_LEN && c != '\r') {
        return false;
    }
    switch (s->state) {
    case CHUNKSCAN_NAME_START:
        s->state = CHUNKSCAN_NAME;
        return token;
    case CHUNKSCAN_NAME:
        if (c == '=') {
            s->state = CHUNKSCAN_VALUE_START;
            return true;
        }
        may_end = true;
        break;
    case CHUNKSCAN_VALUE_START:
        s->state = c == '"' ? CHUNKSCAN_QUOTED : CHUNKSCAN_VALUE;
        return token || c == '"';
    case CHUNKSCAN_VALUE:
        may_end = true;
        break;
    case CHUNKSCAN_QUOTED:
        s->state = c == '"' ? CHUNKSCAN_QUOTED_END : c == '\\' ? CHUNKSCAN_ESCAPED : CHUNKSCAN_QUOTED;
        return chars_are_field_text((struct str){&c, 1});
    case CHUNKSCAN_ESCAPED:
        s->state = CHUNKSCAN_QUOTED;
        return chars_are_field_text((struct str){&c, 1});
    case CHUNKSCAN_QUOTED_END:
        token = false;
        may_end = true;
        break;
    default:
        break;
    }
    if (may_end && (c == ';' || c == '\r')) {
        s->state = c == ';' ? CHUNKSCAN_NAME_START : CHUNKSCAN_SIZE_LF;
        return true;
    }
    return token;
}

/* One byte of what stands around the data. False when it may not stand there. */
static bool take(struct chunkscan *s, char c)
{
    switch (s->state) {
    case CHUNKSCAN_SIZE:
        if (digit(c) >= 0 && s->line_len < DIGITS_MAX) {
            s->left = s->left * 16 + (uint64_t)digit(c);
            s->line_len++;
            return true;
        }
        s->state = c == '\r' ? CHUNKSCAN_SIZE_LF : CHUNKSCAN_NAME_START;
        return s->line_len > 0 && (c == '\r' || c == ';');
    case CHUNKSCAN_SIZE_LF:
        s->state = s->left > 0 ? CHUNKSCAN_DATA : CHUNKSCAN_TRAILERS;
        s->trailers = (struct headscan){.lines = 1};
        return c == '\n';
    case CHUNKSCAN_DATA_CR:
        s->state = CHUNKSCAN_DATA_LF;
        return c == '\r';
    case CHUNKSCAN_DATA_LF:
        s->state = CHUNKSCAN_SIZE;
        s->line_len = 0;
        return c == '\n';
    default:
        return take_extension(s, c);
    }
}

/* Does this byte, the next one, belong to an extension? */
static bool begins_hidden(const struct chunkscan *s, char c)
{
    if (s->state >= CHUNKSCAN_NAME_START && s->state <= CHUNKSCAN_QUOTED_END) {
        return c != '\r';
    }
    return s->state == CHUNKSCAN_SIZE && c == ';';
}

static size_t skip_data(struct chunkscan *s, size_t len)
{
    size_t n = s->left < len ? (size_t)s->left : len;
    s->left -= n;
    if (s->left == 0) {
        s->state = CHUNKSCAN_DATA_CR;
    }
    return n;
}

/* The size of a chunk is known: is there room for it? */
static bool fits(struct chunkscan *s, uint64_t limit)
{
    if (limit && (s->announced > limit || s->left > limit - s->announced)) {
        return false;
    }
    s->announced += s->left;
    return true;
}

/* RFC 9110 6.5.1: what frames, routes, modifies, authenticates or describes a request has no place behind its body. Who
 * sends it there hopes that somebody on the way takes it seriously. */
static bool changes_meaning(enum header_id id)
{
    switch (id) {
    case HEADER_AUTHORIZATION:
    case HEADER_CACHE_CONTROL:
    case HEADER_CONNECTION:
    case HEADER_CONTENT_ENCODING:
    case HEADER_CONTENT_LENGTH:
    case HEADER_CONTENT_TYPE:
    case HEADER_COOKIE:
    case HEADER_EXPECT:
    case HEADER_FORWARDED:
    case HEADER_HOST:
    case HEADER_IF_MATCH:
    case HEADER_IF_MODIFIED_SINCE:
    case HEADER_IF_NONE_MATCH:
    case HEADER_IF_RANGE:
    case HEADER_KEEP_ALIVE:
    case HEADER_PRAGMA:
    case HEADER_PROXY_AUTHENTICATE:
    case HEADER_PROXY_AUTHORIZATION:
    case HEADER_RANGE:
    case HEADER_TE:
    case HEADER_TRAILER:
    case HEADER_TRAILERS:
    case HEADER_TRANSFER_ENCODING:
    case HEADER_UPGRADE:
    case HEADER_X_FORWARDED_FOR:
    case HEADER_X_FORWARDED_HOST:
    case HEADER_X_FORWARDED_PROTO:
    case HEADER_X_REAL_IP:
        return true;
    default:
        return false;
    }
}

/* One at a time: where a trailer is wrong must be known to the byte, and trailers are rare and short. */
static int take_trailer_byte(struct chunkscan *s, char c, const struct request_limits *limits, const char **reason)
{
    size_t used;
    if (s->trailer_len++ == TRAILERS_MAX) {
        *reason = "The trailer section is too long";
        return 431;
    }
    int status = headscan_feed(&s->trailers, &c, 1, limits, &used, reason);
    if (status) {
        return status;
    }
    if (s->trailers.complete) {
        s->state = CHUNKSCAN_END;
    } else if (c == '\n') {
        s->name_len = 0;
    } else if (c == ':' && s->name_len <= sizeof(s->name)) {
        if (changes_meaning(header_lookup((struct str){s->name, s->name_len}))) {
            *reason = "A trailer field that may stand in the head only";
            return 400;
        }
        s->name_len = sizeof(s->name) + 1; /* what follows is the value */
    } else if (s->name_len < sizeof(s->name)) {
        s->name[s->name_len++] = c;
    } else {
        s->name_len = sizeof(s->name) + 1; /* longer than any name that matters */
    }
    return 0;
}

int chunkscan_feed(struct chunkscan *s, const char *data, size_t len, const struct request_limits *limits, size_t *used,
                   bool *hidden, const char **reason)
{
    size_t at = 0;
    int status = 0;
    *hidden = len > 0 && begins_hidden(s, data[0]);
    while (at < len && status == 0 && s->state != CHUNKSCAN_END && begins_hidden(s, data[at]) == *hidden) {
        if (s->state == CHUNKSCAN_DATA) {
            at += skip_data(s, len - at);
        } else if (s->state == CHUNKSCAN_TRAILERS) {
            status = take_trailer_byte(s, data[at], limits, reason);
            at += status == 0;
        } else if (take(s, data[at])) {
            at++;
            if (s->state == CHUNKSCAN_DATA && !fits(s, limits->body)) {
                *reason = "The request body is larger than this server takes";
                status = 413;
            }
        } else {
            *reason = "Malformed chunk in the request body";
            status = 400;
        }
    }
    *used = at;
    return status;
}

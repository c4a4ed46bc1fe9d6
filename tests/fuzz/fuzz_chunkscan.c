/* fuzz_chunkscan.c - a chunked body judged whole, byte by byte and in pieces: the same judgement each time, and what is
 * let through is what RFC 9112 7.1 allows. The script's line: the limits, then where to cut. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/chars.h"
#include "server/http/chunkscan.h"
#include "server/http/request.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/script.h"

#define SCRIPT_CUTS 2

enum cuts { WHOLE, SINGLE_BYTES, PIECES };

struct verdict {
    int status;
    const char *reason;
    size_t used;
    struct chunkscan scan;
};

static struct request_limits limits_of(const struct script *s)
{
    unsigned more = script_at(s, 1);
    return (struct request_limits){
        .line = 100, .field_size = script_at(s, 0) & 63, .fields = 1 + (more & 7), .body = (more >> 3 & 31) * 8};
}

static struct verdict scan(const struct script *s, enum cuts cuts)
{
    const struct request_limits limits = limits_of(s);
    struct verdict v = {.reason = ""};
    for (size_t i = 0; v.used < s->rest.len && v.status == 0 && v.scan.state != CHUNKSCAN_END; i++) {
        size_t left = s->rest.len - v.used, used = SIZE_MAX;
        size_t len = cuts == WHOLE ? left : cuts == SINGLE_BYTES ? 1 : 1 + script_turn(s, SCRIPT_CUTS, i) % 16;
        len = len < left ? len : left;
        char *copy = malloc(len); /* of just that size: reading past it would be noticed */
        CHECK(copy, "memory");
        memcpy(copy, s->rest.p + v.used, len);
        bool hidden = false;
        v.status = chunkscan_feed(&v.scan, copy, len, &limits, &used, &hidden, &v.reason);
        free(copy);
        CHECK(v.status != 0 || (used > 0 && used <= len), "%zu of %zu bytes used", used, len);
        v.used += v.status ? 0 : used;
    }
    CHECK((v.status != 0) == (v.reason[0] != '\0'), "status %d: '%s'", v.status, v.reason);
    return v;
}

static void compare(const struct verdict *a, const struct verdict *b)
{
    CHECK(a->status == b->status && strcmp(a->reason, b->reason) == 0, "%d %s, or %d %s", a->status, a->reason,
          b->status, b->reason);
    CHECK(a->status || (a->used == b->used && a->scan.state == b->scan.state && a->scan.left == b->scan.left),
          "another state");
}

static struct str take_line(struct str *rest)
{
    const char *crlf = memmem(rest->p, rest->len, "\r\n", 2);
    CHECK(crlf, "no CR LF at the end of a line");
    struct str line = {rest->p, (size_t)(crlf - rest->p)};
    CHECK(chars_are_field_text(line), "a control character");
    *rest = (struct str){crlf + 2, rest->len - line.len - 2};
    return line;
}

/* What was let through, read again: chunks, the last of size 0, and trailers. */
static void check_body(struct str rest, size_t limit)
{
    size_t sum = 0;
    for (size_t size = 1; size > 0;) {
        struct str line = take_line(&rest);
        size_t digits = strspn(line.p, "0123456789abcdefABCDEF");
        CHECK(digits > 0 && (digits == line.len || line.p[digits] == ';'), "a size is %.*s", (int)line.len, line.p);
        size = strtoull(line.p, NULL, 16);
        sum += size;
        if (size > 0) {
            CHECK(rest.len >= 2 && size <= rest.len - 2 && memcmp(rest.p + size, "\r\n", 2) == 0, "a chunk of %zu",
                  size);
            rest = (struct str){rest.p + size + 2, rest.len - size - 2};
        }
    }
    for (struct str line = take_line(&rest); line.len > 0; line = take_line(&rest)) {
        CHECK(!strchr(" \t:", line.p[0]), "a trailer is %.*s", (int)line.len, line.p); /* the parser asks for names */
    }
    CHECK(rest.len == 0, "something behind the end");
    CHECK(!limit || sum <= limit, "%zu bytes of body where %zu are allowed", sum, limit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct script s = script_of(data, len);
    struct verdict whole = scan(&s, WHOLE);
    struct verdict bytes = scan(&s, SINGLE_BYTES);
    struct verdict pieces = scan(&s, PIECES);
    compare(&whole, &bytes);
    compare(&whole, &pieces);
    if (whole.scan.state == CHUNKSCAN_END) {
        check_body((struct str){s.rest.p, whole.used}, limits_of(&s).body);
    }
    return 0;
}

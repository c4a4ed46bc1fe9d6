/* fuzz_headscan.c - a request head judged whole, byte by byte and in pieces: the same judgement each time, and what is
 * let through is what RFC 9112 2 and 5 allow. The script's line: the limits, then where to cut. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/http/chars.h"
#include "server/http/headscan.h"
#include "server/http/request.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/script.h"

#define SCRIPT_CUTS 4

enum cuts { WHOLE, SINGLE_BYTES, PIECES };

struct verdict {
    int status;
    const char *reason;
    size_t used;
    struct headscan scan;
};

static struct request_limits limits_of(const struct script *s)
{
    return (struct request_limits){
        .line = script_at(s, 0) & 63, .field_size = script_at(s, 1) & 63, .fields = 1 + (script_at(s, 2) & 7)};
}

static struct verdict scan(const struct script *s, const struct request_limits *limits, enum cuts cuts)
{
    struct verdict v = {.reason = ""};
    for (size_t i = 0; v.used < s->rest.len && v.status == 0 && !v.scan.complete; i++) {
        size_t left = s->rest.len - v.used, used = SIZE_MAX;
        size_t len = cuts == WHOLE ? left : cuts == SINGLE_BYTES ? 1 : 1 + script_turn(s, SCRIPT_CUTS, i) % 16;
        len = len < left ? len : left;
        char *copy = malloc(len); /* of just that size: reading past it would be noticed */
        CHECK(copy, "memory");
        memcpy(copy, s->rest.p + v.used, len);
        v.status = headscan_feed(&v.scan, copy, len, limits, &used, &v.reason);
        free(copy);
        CHECK(v.status != 0 || used == len || (used < len && v.scan.complete), "%zu of %zu bytes used", used, len);
        v.used += v.status ? 0 : used;
    }
    CHECK(v.status == 0 || v.status == 400 || v.status == 414 || v.status == 431, "status %d", v.status);
    CHECK((v.status != 0) == (v.reason[0] != '\0'), "status %d: '%s'", v.status, v.reason);
    return v;
}

static void compare(const struct verdict *a, const struct verdict *b)
{
    CHECK(a->status == b->status && strcmp(a->reason, b->reason) == 0, "%d %s, or %d %s", a->status, a->reason,
          b->status, b->reason);
    CHECK(a->status ||
              (a->used == b->used && a->scan.complete == b->scan.complete && a->scan.lines == b->scan.lines &&
               a->scan.blank == b->scan.blank && a->scan.line_len == b->scan.line_len && a->scan.cr == b->scan.cr),
          "another state");
}

/* What was let through, read again line by line. */
static void check_head(struct str head, const struct request_limits *limits)
{
    size_t lines = 0;
    const char *p = head.p, *end = head.p + head.len;
    while (p < end) {
        const char *crlf = memmem(p, (size_t)(end - p), "\r\n", 2);
        CHECK(crlf, "no CR LF at the end");
        struct str line = {p, (size_t)(crlf - p)};
        p = crlf + 2;
        CHECK(chars_are_field_text(line), "a control character");
        if (line.len == 0) {
            CHECK(lines == 0 || p == end, "an empty line within the head");
            continue;
        }
        size_t limit = lines ? limits->field_size : limits->line;
        CHECK(!limit || line.len <= limit, "line %zu is too long", lines);
        CHECK(lines == 0 || !strchr(" \t:", line.p[0]), "line %zu begins with '%c'", lines, line.p[0]);
        lines++;
    }
    CHECK(lines > 0 && lines - 1 <= limits->fields, "%zu lines", lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct script s = script_of(data, len);
    struct request_limits limits = limits_of(&s);
    struct verdict whole = scan(&s, &limits, WHOLE);
    struct verdict bytes = scan(&s, &limits, SINGLE_BYTES);
    struct verdict pieces = scan(&s, &limits, PIECES);
    compare(&whole, &bytes);
    compare(&whole, &pieces);
    if (whole.scan.complete) {
        check_head((struct str){s.rest.p, whole.used}, &limits);
    }
    return 0;
}

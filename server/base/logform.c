/* logform.c - what a record of the server log looks like. */
#include "server/base/logform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/json.h"

static const char *const NAMES[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
static const char *const COLOURS[] = {"\x1b[36m", "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1;31m"};
#define DIM "\x1b[2m"
#define PLAIN "\x1b[0m"

enum logform logform_for_terminal(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM"); /* no-color.org: set and not empty */
    bool colours = !(no && *no) && !(term && strcmp(term, "dumb") == 0);
    return colours ? LOGFORM_COLOUR : LOGFORM_SHORT;
}

static int put_json(struct buf *out, enum log_level level, const struct timespec *now, const char *text, size_t len,
                    bool exception)
{
    char when[64], zone[8];
    struct tm tm;
    localtime_r(&now->tv_sec, &tm);
    size_t n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    strftime(zone, sizeof(zone), "%z", &tm); /* +0000 */
    snprintf(when + n, sizeof(when) - n, ".%06ld%.3s:%s", now->tv_nsec / 1000, zone, zone + 3);

    const char *end = exception ? memchr(text, '\n', len) : NULL;
    size_t first = end ? (size_t)(end - text) : len;
    struct json j = {.out = out};
    json_open(&j, '{');
    json_key(&j, "time");
    json_text(&j, when);
    json_key(&j, "level");
    json_text(&j, NAMES[level]);
    json_key(&j, "pid");
    json_int(&j, getpid());
    json_key(&j, "message");
    json_string(&j, text, first);
    if (end) {
        json_key(&j, "exception");
        json_string(&j, end + 1, len - first - 1);
    }
    json_close(&j, '}');
    return j.error;
}

int logform_record(struct buf *out, enum logform form, enum log_level level, const char *text, size_t len,
                   bool exception)
{
    char when[48] = "";
    struct timespec now;
    struct tm tm;
    int r = 0;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    switch (form) {
    case LOGFORM_JSON:
        r = put_json(out, level, &now, text, len, exception);
        len = 0;
        break;
    case LOGFORM_PLAIN:
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S %z", &tm);
        r = buf_printf(out, "[%s] [%ld] [%s] ", when, (long)getpid(), NAMES[level]);
        break;
    case LOGFORM_SHORT:
        strftime(when, sizeof(when), "%H:%M:%S", &tm);
        r = buf_printf(out, "%s %-8s %7ld ", when, NAMES[level], (long)getpid());
        break;
    case LOGFORM_COLOUR:
        strftime(when, sizeof(when), "%H:%M:%S", &tm);
        r = buf_printf(out, DIM "%s " PLAIN "%s%-8s" PLAIN DIM " %7ld " PLAIN, when, COLOURS[level], NAMES[level],
                       (long)getpid());
        break;
    }
    r = r < 0 ? r : buf_append(out, text, len);
    return r < 0 ? r : buf_append(out, "\n", 1);
}

int logform_folded(struct buf *out, const char *text, unsigned long count, unsigned seconds)
{
    char digits[32], number[48];
    int n = snprintf(digits, sizeof(digits), "%lu", count), at = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            number[at++] = ',';
        }
        number[at++] = digits[i];
    }
    number[at] = '\0';
    return buf_printf(out, "%s ... %s more in %u s", text, number, seconds);
}

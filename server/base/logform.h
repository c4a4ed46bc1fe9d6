/* logform.h - what a record of the server log looks like. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/log.h"

struct buf;

enum logform {
    LOGFORM_PLAIN,  /* [2026-01-31 12:00:00 +0000] [123] [INFO] text: gunicorn's */
    LOGFORM_SHORT,  /* 12:00:00 INFO         123 text: for eyes, aligned */
    LOGFORM_COLOUR, /* the same in colours */
    LOGFORM_JSON,   /* {"time":"2026-01-31T12:00:00.123456+00:00","level":"INFO","pid":123,"message":"text"}; with the
                     * traceback of an exception as "exception" */
};

enum logform logform_for_terminal(void); /* colours, unless NO_COLOR or TERM=dumb is in the environment */

/* Appends a record with its line break. exception: `text` is a traceback behind a line that says what happened.
 * 0 or -ENOMEM. */
int logform_record(struct buf *out, enum logform form, enum log_level level, const char *text, size_t len,
                   bool exception);

/* "text ... 1,204 more in 60 s" */
int logform_folded(struct buf *out, const char *text, unsigned long count, unsigned seconds);

/* pyerror.h - a Python exception as a log line and an errno.
 * All of these take the current exception and clear it; none can fail or raise. */
#pragma once

#include "server/base/log.h"

/* One record: `title`, then the traceback. */
void pyerror_log(enum log_level level, const char *title_format, ...) __attribute__((format(printf, 2, 3)));

/* "TypeError: text" of the current exception into `out` (cut to size), for one-line messages. */
void pyerror_text(char *out, unsigned long size);

/* The status, 0 to 255, that sys.exit was called with, whose exception is set; as in Python one that is no number is a
 * text for stderr. */
int pyerror_exit_status(void);

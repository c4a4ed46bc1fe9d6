/* pylog.h - the server log, and a record of each request, by way of Python's logging: for those who configure that
 * (logconfig, logconfig_dict, logconfig_json) or have a class of their own for it (logger_class). Off the way of all
 * others. While it is on, a record takes the interpreter for a moment, on whatever thread it is made. */
#pragma once

#include <stdbool.h>

#include "server/base/log.h"

struct _object; /* PyObject */
struct buf;
struct settings;

bool pylog_wanted(const struct settings *s);

/* Makes the logger, when it is wanted, after the stand-ins (pyhooks_plug), with the interpreter held; `divert` false:
 * only to see whether it can be made. 0, or -1 with a sentence. */
int pylog_start(const struct settings *s, bool divert, struct buf *error);

/* The same for those who configure nothing, but filter the loggers gunicorn.error and gunicorn.access, or lead
 * elsewhere what they get: in the configuration file, a hook or the application. When these have run. */
void pylog_adopt(const struct settings *s);

void pylog_stop(void); /* before the interpreter ends: the log is written by C again */

bool pylog_on(void);

/* As an except clause would log it; `value` may be NULL. 0, or -1 when nobody did. */
int pylog_exception(enum log_level level, const char *title, struct _object *value);

/* args: as for pyhooks_after_request (borrowed); NULL with an exception: it could not be made. */
void pylog_access(struct _object *args, unsigned long long took_us);

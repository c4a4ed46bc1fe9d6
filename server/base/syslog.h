/* syslog.h - records for a syslog daemon, in the form that Python's SysLogHandler gives them in gunicorn:
 *   <14>gunicorn.NAME.access: [123] text
 * Any thread. */
#pragma once

#include <stddef.h>

#include "server/base/log.h"

struct buf;
struct syslog; /* opaque */

/* address: udp://HOST:PORT, tcp://HOST:PORT, unix://PATH, with #dgram or #stream behind it. name: as "app.error"; each
 * ":" in it becomes ".". NULL with a sentence when the daemon cannot be reached or a word is not known. */
struct syslog *syslog_create(const char *address, const char *facility, const char *prefix, const char *kind,
                             struct buf *error);
void syslog_destroy(struct syslog *s); /* NULL is fine */

void syslog_record(struct syslog *s, enum log_level level, const char *text, size_t len);

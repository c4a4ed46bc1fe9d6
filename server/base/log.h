/* log.h - the server log: levels, one line an event.
 * The one global of the program. Every call is one write(2) to an O_APPEND descriptor, so that lines of several
 * processes never mix. Any thread may log. Line format, local time, as gunicorn writes it:
 *   [2026-01-31 12:00:00 +0000] [123] [INFO] message
 * Logging never fails visibly: when the file cannot be written, lines are dropped. errno is preserved. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR, LOG_LEVEL_CRITICAL };

/* Sends the log to `path` ("-": stderr); a missing directory is made. Before the first call lines go to stderr.
 * 0 or -errno, and then the log stays where it was. `path` is copied. */
int log_open(const char *path, enum log_level level);
int log_reopen(void); /* opens the same path again (USR1); 0 or -errno, the old file stays on failure */
void log_close(void); /* back to stderr; frees what log_open took */

/* Until log_echo_end, errors go to what is stderr now as well, for who waits there until a daemon is up. */
void log_echo(void);
void log_echo_end(void);

/* Every record goes to syslog as well, and those from warnings on are counted (borrowed; NULL: no more). */
struct statsd;
struct syslog;
void log_to_syslog(struct syslog *s);
void log_to_statsd(struct statsd *s);

/* Somebody who writes the records for us, on any thread; to be thought of where the log is slow to begin with. */
struct log_writer {
    int (*record)(struct log_writer *w, enum log_level level, const char *text,
                  size_t len);                                          /* -1: write it after all */
    void (*access)(struct log_writer *w, const char *line, size_t len); /* a request that no application has seen */
    void (*reopen)(struct log_writer *w);
    enum log_level level; /* from which on it has records */
    char *access_format;  /* of the lines that it takes; owned by who made it */
};
void log_divert(struct log_writer *w); /* borrowed; NULL: nobody, from now on */
struct log_writer *log_writer(void);   /* NULL: nobody */

int log_fd(void); /* the descriptor lines go to; borrowed; log_reopen keeps its number */

bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A record whose text has line breaks in it (a traceback), written as one piece. */
void log_text(enum log_level level, const char *text, size_t len);
void log_exception(enum log_level level, const char *text, size_t len); /* the same, counted as such */

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_critical(...) log_line(LOG_LEVEL_CRITICAL, __VA_ARGS__)

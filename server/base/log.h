/* log.h - the server log: levels, one record an event.
 * The one global of the program. Every record is one write(2) to an O_APPEND descriptor, so that those of several
 * processes never mix; a traceback is one record. Any thread may log. Line format, local time, as gunicorn writes it:
 *   [2026-01-31 12:00:00 +0000] [123] [INFO] message
 * On a terminal it is shorter and has colours (not with NO_COLOR); as JSON a record is an object a line.
 *
 * Logging never fails visibly and makes nobody wait: what cannot be written is counted, and told of later. A file that
 * was moved or removed is opened again within a second. Equal records in quick succession are counted (fold.h). errno
 * is preserved. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR, LOG_LEVEL_CRITICAL };
enum log_form { LOG_FORM_AUTO, LOG_FORM_PLAIN, LOG_FORM_JSON }; /* auto: plain, or short on a terminal */

/* Sends the log to `path` ("-": stderr); a missing directory is made. Before the first call lines go to stderr.
 * 0 or -errno, and then the log stays where it was. `path` is copied. */
int log_open(const char *path, enum log_level level);
void log_set_form(enum log_form form); /* auto at first; call it before log_open */
enum log_form log_form(void);
int log_reopen(void); /* opens the same path again (USR1), or looks at stderr anew; 0 or -errno: the old file stays */
void log_close(void); /* back to stderr; frees what log_open took */

/* Until log_echo_end, errors go to what is stderr now as well, for who waits there until a daemon is up. */
void log_echo(void);
void log_echo_end(void);

/* The application's stdout and stderr go to the log's file, also when it is opened again. */
void log_take_stdio(void);

/* What was held back is told of: the master calls it when log_deadline (0: never) has come; all: before it has. */
void log_tend(bool all);
uint64_t log_deadline(void);

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

/* A record whose text has line breaks in it, written as one piece. */
void log_text(enum log_level level, const char *text, size_t len);
/* A traceback behind the line that says what happened. */
void log_exception(enum log_level level, const char *text, size_t len);
/* Whole lines of the application, as they are (wsgi.errors): never folded; in JSON each is a record. */
void log_foreign(const char *lines, size_t len);
/* Whole lines that another process of this server has made: as they are, never folded, whatever the level. In JSON each
 * that is no record yet becomes one of that level. */
void log_lines(enum log_level level, const char *lines, size_t len);

#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_critical(...) log_line(LOG_LEVEL_CRITICAL, __VA_ARGS__)

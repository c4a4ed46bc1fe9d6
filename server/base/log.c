/* log.c - the server log: levels, one line an event. */
#include "server/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "server/base/sink.h"
#include "server/base/statsd.h"
#include "server/base/syslog.h"

static struct {
    int fd;
    int echo;   /* owned; -1: none */
    char *path; /* owned; NULL: stderr */
    enum log_level level;
    struct syslog *syslog;     /* borrowed; NULL: none */
    struct statsd *statsd;     /* borrowed; NULL: none */
    struct log_writer *writer; /* borrowed; NULL: none */
} the_log = {.fd = STDERR_FILENO, .echo = -1, .level = LOG_LEVEL_INFO};

static const char *const NAMES[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

int log_open(const char *path, enum log_level level)
{
    char *copy = NULL;
    int fd = STDERR_FILENO;
    if (strcmp(path, "-") != 0) {
        copy = strdup(path);
        if (!copy) {
            return -ENOMEM;
        }
        fd = sink_open_file(path);
        if (fd < 0) {
            free(copy);
            return fd;
        }
    }
    log_close();
    the_log.fd = fd;
    the_log.path = copy;
    the_log.level = level;
    return 0;
}

void log_close(void)
{
    if (the_log.path) {
        close(the_log.fd);
        free(the_log.path);
        the_log.path = NULL;
    }
    the_log.fd = STDERR_FILENO;
}

int log_reopen(void)
{
    if (the_log.writer) {
        the_log.writer->reopen(the_log.writer);
    }
    if (!the_log.path) {
        return 0;
    }
    int fd = sink_open_file(the_log.path);
    if (fd < 0) {
        return fd;
    }
    /* dup3 keeps the number: other threads may be writing to it at this moment. */
    int r = dup3(fd, the_log.fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    return r;
}

void log_echo(void)
{
    log_echo_end();
    if (the_log.path) {
        the_log.echo = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    }
}

void log_echo_end(void)
{
    if (the_log.echo >= 0) {
        close(the_log.echo);
        the_log.echo = -1;
    }
}

void log_to_syslog(struct syslog *s)
{
    the_log.syslog = s;
}

void log_to_statsd(struct statsd *s)
{
    the_log.statsd = s;
}

void log_divert(struct log_writer *w)
{
    the_log.writer = w;
    the_log.level = w ? w->level : the_log.level;
}

struct log_writer *log_writer(void)
{
    return the_log.writer;
}

int log_fd(void)
{
    return the_log.fd;
}

bool log_enabled(enum log_level level)
{
    return level >= the_log.level;
}

static void write_line(int fd, enum log_level level, const char *text, size_t len)
{
    char head[96], when[48];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    localtime_r(&ts.tv_sec, &tm);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S %z", &tm);
    int n = snprintf(head, sizeof(head), "[%s] [%ld] [%s] ", when, (long)getpid(), NAMES[level]);

    struct iovec iov[] = {
        {.iov_base = head, .iov_len = (size_t)n},
        {.iov_base = (char *)text, .iov_len = len},
        {.iov_base = "\n", .iov_len = 1},
    };
    ssize_t r;
    do {
        r = writev(fd, iov, 3);
    } while (r < 0 && errno == EINTR);
}

/* kind: as statsd counts it; NULL: not at all. */
static void put(enum log_level level, const char *kind, const char *text, size_t len)
{
    if (!log_enabled(level)) {
        return;
    }
    int saved = errno;
    while (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    if (!the_log.writer || the_log.writer->record(the_log.writer, level, text, len) < 0) {
        write_line(the_log.fd, level, text, len);
        if (the_log.syslog) {
            syslog_record(the_log.syslog, level, text, len);
        }
    }
    if (the_log.echo >= 0 && level >= LOG_LEVEL_ERROR) {
        write_line(the_log.echo, level, text, len);
    }
    if (the_log.statsd && kind) {
        statsd_log(the_log.statsd, kind);
    }
    errno = saved;
}

void log_text(enum log_level level, const char *text, size_t len)
{
    static const char *const kinds[] = {NULL, NULL, "warning", "error", "critical"};
    put(level, kinds[level], text, len);
}

void log_exception(enum log_level level, const char *text, size_t len)
{
    put(level, "exception", text, len);
}

void log_line(enum log_level level, const char *format, ...)
{
    if (!log_enabled(level)) {
        return;
    }
    int saved = errno;
    char small[512], *text = small, *large = NULL;
    va_list args;

    va_start(args, format);
    int n = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    if (n < 0) {
        errno = saved;
        return;
    }
    if ((size_t)n >= sizeof(small)) {
        large = malloc((size_t)n + 1);
        if (large) {
            va_start(args, format);
            vsnprintf(large, (size_t)n + 1, format, args);
            va_end(args);
            text = large;
        } else {
            n = sizeof(small) - 1; /* memory is short: the beginning is better than nothing */
        }
    }
    log_text(level, text, (size_t)n);
    free(large);
    errno = saved;
}

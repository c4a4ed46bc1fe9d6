/* log.c - the server log: levels, one record an event. */
#include "server/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/fold.h"
#include "server/base/linefd.h"
#include "server/base/logform.h"
#include "server/base/statsd.h"
#include "server/base/syslog.h"

#define LOOK_US UINT64_C(500000) /* how often the path is compared with the file: twice a second */
#define PATIENCE_MS 100          /* for a slow reader, once; then records are lost until it reads again */

static struct {
    struct linefd out;
    int echo;   /* owned; -1: none */
    char *path; /* owned; NULL: stderr */
    enum log_level level;
    enum log_form form;
    enum logform shape; /* `form`, decided for the present descriptor */
    bool takes_stdio;
    struct syslog *syslog;     /* borrowed; NULL: none */
    struct statsd *statsd;     /* borrowed; NULL: none */
    struct log_writer *writer; /* borrowed; NULL: none */
    struct fold *fold;         /* owned; NULL until it is opened, or when memory is short */
    pid_t owner;               /* who has made it: the master */
    _Atomic uint64_t look_at_us;
    atomic_ulong lost; /* records, since the last one that could be written */
    atomic_bool cut;   /* the last one that was written is not complete */
} the_log = {.out = {.fd = STDERR_FILENO, .asks = true}, .echo = -1, .level = LOG_LEVEL_INFO};

/* Opening */

static void choose_shape(void)
{
    the_log.shape = the_log.form == LOG_FORM_JSON ? LOGFORM_JSON : LOGFORM_PLAIN;
    if (the_log.form == LOG_FORM_AUTO && !the_log.path && isatty(STDERR_FILENO)) {
        the_log.shape = logform_for_terminal();
    }
}

void log_set_form(enum log_form form)
{
    the_log.form = form;
}

enum log_form log_form(void)
{
    return the_log.form;
}

int log_open(const char *path, enum log_level level)
{
    char *copy = NULL;
    int fd = -1;
    if (strcmp(path, "-") != 0) {
        copy = strdup(path);
        if (!copy) {
            return -ENOMEM;
        }
        fd = linefd_open_file(path);
        if (fd < 0) {
            free(copy);
            return fd;
        }
    }
    log_close();
    if (copy) {
        linefd_own(&the_log.out, fd);
    } else {
        linefd_borrow(&the_log.out, STDERR_FILENO);
    }
    the_log.path = copy;
    the_log.level = level;
    the_log.fold = fold_create();
    the_log.owner = getpid();
    choose_shape();
    return 0;
}

void log_close(void)
{
    if (the_log.owner == getpid()) {
        log_tend(true);
    }
    fold_destroy(the_log.fold);
    linefd_close(&the_log.out);
    free(the_log.path);
    the_log.fold = NULL;
    the_log.path = NULL;
    the_log.takes_stdio = false;
    the_log.lost = 0;
    the_log.cut = false;
    the_log.out = (struct linefd){.fd = STDERR_FILENO, .asks = true};
    the_log.shape = LOGFORM_PLAIN;
}

/* The file's new descriptor under the old number: other threads may be writing to it at this moment. */
static int open_again(void)
{
    int fd = linefd_open_file(the_log.path);
    if (fd < 0) {
        return fd;
    }
    int r = dup3(fd, the_log.out.fd, O_CLOEXEC) < 0 ? -errno : 0;
    close(fd);
    if (the_log.takes_stdio) {
        log_take_stdio();
    }
    return r;
}

int log_reopen(void)
{
    if (the_log.writer) {
        the_log.writer->reopen(the_log.writer);
    }
    if (!the_log.path) { /* stderr may be something else by now: a daemon's is /dev/null */
        linefd_borrow_again(&the_log.out, STDERR_FILENO);
        choose_shape();
        return 0;
    }
    return open_again();
}

void log_take_stdio(void)
{
    the_log.takes_stdio = true;
    dup2(log_fd(), STDOUT_FILENO);
    dup2(log_fd(), STDERR_FILENO);
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
    return the_log.path ? the_log.out.fd : STDERR_FILENO;
}

bool log_enabled(enum log_level level)
{
    return level >= the_log.level;
}

/* Writing */

/* A file that was moved, removed or replaced is followed within a second: by one thread, the others go on. */
static void follow_path(uint64_t now)
{
    uint64_t at = atomic_load_explicit(&the_log.look_at_us, memory_order_relaxed);
    if (the_log.path && now >= at && atomic_compare_exchange_strong(&the_log.look_at_us, &at, now + LOOK_US) &&
        linefd_is_stale(&the_log.out, the_log.path)) {
        open_again(); /* if it fails, the old file is better than none */
    }
}

static bool write_once(const char *data, size_t len, bool patient)
{
    int error = 0;
    size_t done = linefd_write(&the_log.out, data, len, &error);
    if (error == -EAGAIN && patient) {
        struct pollfd p = {.fd = the_log.out.fd, .events = POLLOUT};
        poll(&p, 1, PATIENCE_MS);
        done += linefd_write(&the_log.out, data + done, len - done, &error);
    }
    if (done > 0) {
        atomic_store(&the_log.cut, done < len);
    }
    return done == len;
}

/* One record, with its line break. */
static void write_out(const char *data, size_t len)
{
    bool in_trouble = atomic_load(&the_log.lost) > 0;
    if (atomic_load(&the_log.cut)) {
        write_once("\n", 1, false); /* what follows is not taken for the rest of that record */
    }
    if (!write_once(data, len, !in_trouble)) {
        atomic_fetch_add(&the_log.lost, 1);
        return;
    }
    unsigned long lost = in_trouble ? atomic_exchange(&the_log.lost, 0) : 0;
    if (lost > 0) {
        log_warning("This log could not be written for a while: %lu records are missing before this one", lost);
    }
}

/* The level and text as a record in the shape that is asked for. */
static void write_record(enum log_level level, const char *text, size_t len, bool exception)
{
    struct buf record = {0};
    while (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    if (logform_record(&record, the_log.shape, level, text, len, exception) == 0) {
        write_out(record.data, record.len);
    } else {
        atomic_fetch_add(&the_log.lost, 1); /* memory is short */
    }
    buf_finish(&record);
}

static void write_echo(enum log_level level, const char *text, size_t len)
{
    struct buf record = {0};
    if (logform_record(&record, LOGFORM_PLAIN, level, text, len, false) == 0 &&
        write(the_log.echo, record.data, record.len) < 0) {
        /* nobody waits there any more */
    }
    buf_finish(&record);
}

void log_tend(bool all)
{
    struct fold_report r;
    uint64_t now = clock_mono_us();
    while (the_log.fold && fold_take(the_log.fold, now, all, &r)) {
        struct buf text = {0};
        if (logform_folded(&text, r.text, r.count, r.seconds) == 0) {
            write_record((enum log_level)r.level, text.data, text.len, false);
        }
        buf_finish(&text);
    }
}

uint64_t log_deadline(void)
{
    return the_log.fold ? fold_due(the_log.fold) : 0;
}

/* kind: as statsd counts it; NULL: not at all. */
static void put(enum log_level level, const char *kind, const char *text, size_t len, bool exception)
{
    if (!log_enabled(level)) {
        return;
    }
    int saved = errno;
    uint64_t now = clock_mono_us(), due = log_deadline();
    if (the_log.statsd && kind) {
        statsd_log(the_log.statsd, kind);
    }
    follow_path(now);
    if (due > 0 && now >= due) {
        log_tend(false);
    }
    while (len > 0 && text[len - 1] == '\n') {
        len--;
    }
    if ((!the_log.writer || the_log.writer->record(the_log.writer, level, text, len) < 0) &&
        (!the_log.fold || fold_admit(the_log.fold, (int)level, text, len, now))) {
        write_record(level, text, len, exception);
        if (the_log.syslog) {
            syslog_record(the_log.syslog, level, text, len);
        }
    }
    if (the_log.echo >= 0 && level >= LOG_LEVEL_ERROR) {
        write_echo(level, text, len);
    }
    errno = saved;
}

void log_text(enum log_level level, const char *text, size_t len)
{
    static const char *const kinds[] = {NULL, NULL, "warning", "error", "critical"};
    put(level, kinds[level], text, len, false);
}

void log_exception(enum log_level level, const char *text, size_t len)
{
    put(level, "exception", text, len, true);
}

/* records: among the lines are some that have the log's shape already. */
static void put_lines(enum log_level level, const char *lines, size_t len, bool records)
{
    int saved = errno;
    follow_path(clock_mono_us());
    if (the_log.shape != LOGFORM_JSON) {
        write_out(lines, len);
        len = 0;
    }
    while (len > 0) {
        const char *end = memchr(lines, '\n', len);
        size_t n = end ? (size_t)(end - lines) + 1 : len;
        if (records && lines[0] == '{' && n > 2 && lines[n - 2] == '}') {
            write_out(lines, n);
        } else if (lines[0] != '\n') { /* an empty line only parts others, which records do themselves */
            write_record(level, lines, n, false);
        }
        lines += n;
        len -= n;
    }
    errno = saved;
}

void log_foreign(const char *lines, size_t len)
{
    put_lines(LOG_LEVEL_ERROR, lines, len, false);
}

void log_lines(enum log_level level, const char *lines, size_t len)
{
    put_lines(level, lines, len, true);
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

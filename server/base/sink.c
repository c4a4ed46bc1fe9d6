/* sink.c - where log lines go: a file, stdout or stderr. */
#include "server/base/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/linefd.h"
#include "server/base/log.h"
#include "server/base/syslog.h"

#define FLUSH_AT (64 * 1024)              /* so much waits at most for the end of the loop's turn */
#define PENDING_MAX ((size_t)1024 * 1024) /* so much waits for a reader that is slow */
#define LOOK_US UINT64_C(500000)          /* how often the path is compared with the file: twice a second */
#define QUIET_US UINT64_C(10000000)       /* trouble that comes and goes is not told of more often */
#define FAREWELL_MS 200                   /* for a slow reader to take the rest when we close */

struct sink {
    char *path;                /* owned; NULL: a standard stream, or nowhere */
    struct linefd out;         /* fd -1: `path` could not be opened yet; without one, others have the lines */
    struct syslog *syslog;     /* borrowed; NULL: none */
    struct log_writer *writer; /* borrowed; NULL: none */
    struct buf lines;
    size_t whole;        /* of `lines`: those that sink_added has seen */
    size_t written;      /* bytes, since sink_reset_written */
    size_t copied;       /* of `lines`: those that syslog has had already */
    bool blocked;        /* its reader is slow: what is there waits for the next flush */
    bool midline;        /* the last byte that was taken is no line's end: what comes next in `lines` is its rest */
    bool cut;            /* ... but that rest is lost */
    bool astray;         /* `path` is another file's, and cannot be opened */
    int error;           /* why there is no file: -errno; 0: there is one */
    bool troubled;       /* lines were lost, and no number was given yet */
    bool told;           /* ... but the log says that it is so */
    unsigned long lost;  /* lines, since the log last gave a number */
    uint64_t told_us;    /* when the log last said something */
    uint64_t look_at_us; /* when the path is looked at again */
};

static const char *name_of(const struct sink *s)
{
    return s->path ? s->path : "on a standard stream";
}

static unsigned long count_lines(const char *p, size_t len)
{
    unsigned long n = 0;
    for (const char *end = p + len; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++) {
        n++;
    }
    return n;
}

/* Trouble: requests are never held up by a log; what it does not take is counted */

static void lose(struct sink *s, unsigned long lines, int error)
{
    uint64_t now = clock_mono_us();
    s->lost += lines;
    s->troubled = true;
    if (!s->told && (s->told_us == 0 || now - s->told_us >= QUIET_US)) {
        s->told = true;
        s->told_us = now;
        log_error("Cannot write to the access log %s: %s; requests are served on, their lines are counted and dropped",
                  name_of(s), error == -EAGAIN ? "its reader is too slow" : strerror(-error));
    }
}

static void recover(struct sink *s)
{
    uint64_t now = clock_mono_us();
    if (!s->told && now - s->told_us < QUIET_US) {
        return; /* it comes and goes: one number for all of it, later */
    }
    log_warning("The access log %s can be written again; %lu lines were lost", name_of(s), s->lost);
    s->troubled = s->told = false;
    s->told_us = now;
    s->lost = 0;
}

/* Opening */

int sink_make_file(const char *path, uid_t uid, gid_t gid)
{
    int r = linefd_make_parents(path);
    if (r < 0) {
        return r;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd < 0) {
        return errno == EEXIST ? 0 : -errno;
    }
    r = fchown(fd, uid, gid) < 0 ? -errno : 0;
    close(fd);
    return r;
}

/* 0 or -errno, and then the old file stays. */
static int open_again(struct sink *s)
{
    int fd = linefd_open_file(s->path);
    if (fd < 0) {
        return fd;
    }
    linefd_close(&s->out);
    linefd_own(&s->out, fd);
    s->cut = false; /* that was in the old file */
    s->error = 0;
    return 0;
}

int sink_open(struct sink **out, const char *path, int std_fd)
{
    struct sink *s = calloc(1, sizeof(*s));
    if (!s) {
        return -ENOMEM;
    }
    s->out.fd = -1;
    s->look_at_us = clock_mono_us() + LOOK_US;
    if (path && strcmp(path, "-") == 0) {
        linefd_borrow(&s->out, std_fd);
    } else if (path) {
        s->path = strdup(path);
        if (!s->path) {
            free(s);
            return -ENOMEM;
        }
        s->error = open_again(s);
        if (s->error < 0) {
            lose(s, 0, s->error);
        }
    }
    *out = s;
    return 0;
}

void sink_close(struct sink *s)
{
    if (!s) {
        return;
    }
    if (sink_flush(s)) {
        struct pollfd p = {.fd = s->out.fd, .events = POLLOUT};
        poll(&p, 1, FAREWELL_MS);
        sink_flush(s);
    }
    s->lost += count_lines(s->lines.data, s->lines.len);
    if (s->lost > 0) {
        log_error("%lu lines of the access log %s were lost: it could not be written", s->lost, name_of(s));
    }
    linefd_close(&s->out);
    buf_finish(&s->lines);
    free(s->path);
    free(s);
}

int sink_reopen(struct sink *s)
{
    if (!s->path) {
        return 0;
    }
    sink_flush(s);
    return open_again(s);
}

void sink_copy(struct sink *s, struct syslog *to)
{
    s->syslog = to;
}

void sink_divert(struct sink *s, struct log_writer *to)
{
    s->writer = to;
}

static void copy_lines(struct sink *s)
{
    const char *p = s->lines.data + s->copied, *end = s->lines.data + s->lines.len;
    while (p < end) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        line_end = line_end ? line_end : end;
        if (s->syslog) {
            syslog_record(s->syslog, LOG_LEVEL_INFO, p, (size_t)(line_end - p));
        }
        if (s->writer) {
            s->writer->access(s->writer, p, (size_t)(line_end - p));
        }
        p = line_end + 1;
    }
    s->copied = s->lines.len;
}

/* Writing */

bool sink_has_lines(const struct sink *s)
{
    return s->lines.len > 0;
}

size_t sink_written(const struct sink *s)
{
    return s->written;
}

void sink_reset_written(struct sink *s)
{
    s->written = 0;
}

struct buf *sink_lines(struct sink *s)
{
    return &s->lines;
}

void sink_added(struct sink *s, int r)
{
    if (r < 0) {
        lose(s, 1, r);
    } else if (s->blocked && s->lines.len > PENDING_MAX) {
        lose(s, count_lines(s->lines.data + s->whole, s->lines.len - s->whole), -EAGAIN);
        s->lines.len = s->whole;
    }
    s->whole = s->lines.len;
    if (s->lines.len > FLUSH_AT && !s->blocked) {
        sink_flush(s);
    }
}

static void drop(struct sink *s, size_t len)
{
    buf_consume(&s->lines, len);
    s->whole = s->lines.len;
    s->copied = s->copied > len ? s->copied - len : 0;
}

/* A file that was moved, removed or replaced is followed within a second, without a signal; one that could not be
 * opened is tried again. */
static void follow_path(struct sink *s)
{
    uint64_t now = clock_mono_us();
    if (!s->path || now < s->look_at_us) {
        return;
    }
    s->look_at_us = now + LOOK_US;
    if (s->error < 0) {
        s->error = open_again(s);
    } else if (linefd_is_stale(&s->out, s->path)) {
        int r = open_again(s);
        if (r < 0 && !s->astray) {
            log_error("The access log %s was moved or removed, and cannot be made again: %s; lines go to the old file",
                      s->path, strerror(-r));
        }
        s->astray = r < 0;
    }
}

/* Writes as much as goes. 0 or why not all. */
static int write_lines(struct sink *s)
{
    int error = 0;
    if (s->cut) {
        if (linefd_write(&s->out, "\n", 1, &error) == 0) {
            return error;
        }
        s->cut = s->midline = false;
    }
    size_t done = linefd_write(&s->out, s->lines.data, s->lines.len, &error);
    if (done > 0) {
        s->midline = s->lines.data[done - 1] != '\n';
        s->written += done;
        drop(s, done);
    }
    return error;
}

bool sink_flush(struct sink *s)
{
    s->blocked = false;
    if (s->lines.len == 0) {
        return false;
    }
    if (s->syslog || s->writer) {
        copy_lines(s);
    }
    follow_path(s);
    if (s->out.fd < 0) {
        if (s->error < 0) {
            lose(s, count_lines(s->lines.data, s->lines.len), s->error);
        }
        drop(s, s->lines.len);
        return false;
    }
    int error;
    while ((error = write_lines(s)) == -EMSGSIZE) { /* a line that is longer than this pipe could ever take */
        const char *end = memchr(s->lines.data, '\n', s->lines.len);
        drop(s, end ? (size_t)(end - s->lines.data) + 1 : s->lines.len);
        lose(s, 1, error);
    }
    if (error == -EAGAIN) {
        s->blocked = true;
        return true;
    }
    if (error < 0) {
        lose(s, count_lines(s->lines.data, s->lines.len), error);
        s->cut |= s->midline;
        drop(s, s->lines.len);
    } else if (s->troubled) {
        recover(s);
    }
    return false;
}

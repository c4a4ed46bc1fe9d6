/* sink.c - where log lines go: a file, stdout or stderr. */
#include "server/base/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/syslog.h"

#define FLUSH_AT (64 * 1024) /* so much waits at most for the end of the loop's turn */

struct sink {
    char *path;                /* owned; NULL: std_fd */
    int fd;                    /* owned, unless it is std_fd; -1: only syslog has the lines */
    struct syslog *syslog;     /* borrowed; NULL: none */
    struct log_writer *writer; /* borrowed; NULL: none */
    struct buf lines;
    bool cut;              /* the last line that reached the file is not complete */
    unsigned long dropped; /* bytes that could not be written since the last success */
};

/* Makes the directories above the last component of `path`. 0 or -errno. */
static int make_parents(const char *path)
{
    char *copy = strdup(path);
    if (!copy) {
        return -ENOMEM;
    }
    int r = 0;
    for (char *p = strchr(copy + 1, '/'); p && r == 0; p = strchr(p + 1, '/')) {
        *p = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST) {
            r = -errno;
        }
        *p = '/';
    }
    free(copy);
    return r;
}

int sink_open_file(const char *path)
{
    int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY;
    int fd = open(path, flags, 0666);
    if (fd < 0 && errno == ENOENT && path[0] != '\0') {
        int r = make_parents(path);
        if (r < 0) {
            return r;
        }
        fd = open(path, flags, 0666);
    }
    return fd < 0 ? -errno : fd;
}

int sink_make_file(const char *path, uid_t uid, gid_t gid)
{
    int r = make_parents(path);
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

int sink_open(struct sink **out, const char *path, int std_fd)
{
    struct sink *s = calloc(1, sizeof(*s));
    if (!s) {
        return -ENOMEM;
    }
    int r = -ENOMEM;
    s->fd = std_fd;
    if (!path) {
        s->fd = -1;
    } else if (strcmp(path, "-") != 0) {
        s->path = strdup(path);
        if (!s->path) {
            goto fail;
        }
        s->fd = sink_open_file(path);
        if (s->fd < 0) {
            r = s->fd;
            goto fail;
        }
    }
    *out = s;
    return 0;

fail:
    free(s->path);
    free(s);
    return r;
}

void sink_close(struct sink *s)
{
    if (!s) {
        return;
    }
    sink_flush(s);
    if (s->path) {
        close(s->fd);
    }
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
    int fd = sink_open_file(s->path);
    if (fd < 0) {
        return fd;
    }
    close(s->fd);
    s->fd = fd;
    return 0;
}

int sink_fd(const struct sink *s)
{
    return s->fd;
}

void sink_copy(struct sink *s, struct syslog *to)
{
    s->syslog = to;
}

void sink_divert(struct sink *s, struct log_writer *to)
{
    s->writer = to;
}

static void copy_lines(const struct sink *s)
{
    const char *p = s->lines.data, *end = p + s->lines.len;
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
}

void sink_append(struct sink *s, const char *data, size_t len)
{
    if (s->lines.len > 0 && s->lines.len + len > FLUSH_AT) {
        sink_flush(s);
    }
    if (buf_append(&s->lines, data, len) < 0) {
        s->dropped += len;
    }
}

void sink_flush(struct sink *s)
{
    if (s->lines.len == 0) {
        return;
    }
    if (s->syslog || s->writer) {
        copy_lines(s);
    }
    size_t done = s->fd < 0 ? s->lines.len : 0;
    if (s->cut && write(s->fd, "\n", 1) == 1) {
        s->cut = false; /* what follows is not taken for the rest of that line */
    }
    while (done < s->lines.len) {
        ssize_t n = write(s->fd, s->lines.data + done, s->lines.len - done);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            break;
        }
        done += (size_t)n;
    }
    /* Requests are never held up by a log: what a full disk or a full pipe does not take is lost, and told of. */
    if (done < s->lines.len) {
        if (s->dropped == 0) {
            log_error("Cannot write to the access log %s: %s; lines are dropped until it can be written again",
                      s->path ? s->path : "on a standard stream", strerror(errno));
        }
        s->dropped += s->lines.len - done;
        s->cut |= done > 0 && s->lines.data[done - 1] != '\n';
    } else if (s->dropped > 0) {
        log_warning("The access log %s can be written again; %lu bytes were lost",
                    s->path ? s->path : "on a standard stream", s->dropped);
        s->dropped = 0;
    }
    s->lines.len = 0;
}

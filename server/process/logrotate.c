/* logrotate.c - when logs grow too large or too old, they are moved away, and begin anew. */
#include "server/process/logrotate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/process/logwork.h"
#include "server/process/oldlogs.h"

#define CHECK_MIN_US (SECOND_US / 100) /* between two looks at a file that grows fast */
#define CHECK_MAX_US SECOND_US
#define CLOCK_US (60 * SECOND_US) /* the clock may be set: not longer than this without a look at it */
#define AHEAD_MAX_S 3600 /* a file that begins later: the clock was set back, which must not put it off for weeks */
#define TROUBLE_US (60 * SECOND_US) /* after a file could not be moved */

enum period { NEVER, HOURLY, DAILY, WEEKLY };

struct watched {
    char *path; /* owned */
    dev_t dev;  /* the file that was seen last; ino 0: none */
    ino_t ino;
    time_t since; /* when what is in it begins */
    off_t size;   /* when it was looked at last, and when that was */
    uint64_t size_us;
    uint64_t check_us; /* when it is looked at next */
};

struct logrotate {
    struct watched logs[2];
    const char *paths[2]; /* the same */
    size_t n;
    size_t limit; /* bytes; 0: none */
    enum period period;
    struct oldlogs_limits limits;
    struct logwork work;
    bool trim; /* there may be too many */
};

/* Settings */

static enum period period_of(const struct settings *s)
{
    static const char *const names[] = {"none", "hourly", "daily", "weekly"};
    for (int i = HOURLY; i <= WEEKLY; i++) {
        if (strcmp(s->log_rotate, names[i]) == 0) {
            return (enum period)i;
        }
    }
    return NEVER;
}

static bool is_asked_for(const struct settings *s)
{
    return s->log_rotate_size > 0 || period_of(s) != NEVER;
}

static bool on_path(const char *program)
{
    const char *path = getenv("PATH");
    for (const char *p = path ? path : "/usr/bin:/bin"; *p;) {
        size_t n = strcspn(p, ":");
        struct buf file = {0};
        bool found = buf_printf(&file, "%.*s/%s", (int)n, p, program) == 0 && access(file.data, X_OK) == 0;
        buf_finish(&file);
        if (found) {
            return true;
        }
        p += n + (p[n] == ':');
    }
    return false;
}

int logrotate_check(const struct settings *s, struct buf *error)
{
    if (is_asked_for(s) && strcmp(s->log_compress, "none") != 0 && !on_path(s->log_compress)) {
        buf_printf(error, "log_compress is %s, but there is no program of that name on PATH: install it, or say none",
                   s->log_compress);
        return -1;
    }
    return 0;
}

/* The file behind a symbolic link is what is moved; but not for root, when the folder may be somebody else's. */
static int add(struct logrotate *r, const struct settings *s, const char *path)
{
    if (!path || strcmp(path, "-") == 0) {
        return 0;
    }
    bool others = geteuid() == 0 && (s->user || s->group);
    char *real = others ? NULL : realpath(path, NULL);
    real = real ? real : strdup(path);
    if (!real) {
        return -ENOMEM;
    }
    if (r->n > 0 && strcmp(r->paths[0], real) == 0) {
        free(real);
        return 0;
    }
    r->logs[r->n].path = real;
    r->paths[r->n++] = real;
    return 0;
}

struct logrotate *logrotate_create(const struct settings *s)
{
    struct logrotate *r = is_asked_for(s) ? calloc(1, sizeof(*r)) : NULL;
    if (!r) {
        return NULL;
    }
    if (add(r, s, s->accesslog) < 0 || add(r, s, s->errorlog) < 0) {
        logrotate_destroy(r);
        return NULL;
    }
    r->limit = s->log_rotate_size;
    r->period = period_of(s);
    r->limits = (struct oldlogs_limits){
        .keep = (size_t)s->log_keep, .days = (size_t)s->log_keep_days, .total = s->log_max_total};
    r->trim = true;
    logwork_init(&r->work, s, r->paths, r->n);
    return r;
}

void logrotate_destroy(struct logrotate *r)
{
    if (r) {
        logwork_stop(&r->work);
        for (size_t i = 0; i < r->n; i++) {
            free(r->logs[i].path);
        }
        free(r);
    }
}

/* Time */

/* When the period that `at` lies in ends: on the hour, at midnight, at Monday's midnight, in local time. */
static time_t period_end(enum period period, time_t at)
{
    struct tm tm;
    localtime_r(&at, &tm);
    tm.tm_min = tm.tm_sec = 0;
    if (period == HOURLY) {
        tm.tm_hour++;
    } else {
        tm.tm_hour = 0;
        tm.tm_mday += period == DAILY ? 1 : 7 - (tm.tm_wday + 6) % 7;
        tm.tm_isdst = -1;
    }
    time_t end = mktime(&tm);
    return end > at ? end : at + 3600; /* an hour that comes twice */
}

/* Moving */

/* When the file began, as far as the file system tells. */
static time_t birth_of(const char *path, const struct stat *st)
{
    struct statx x;
    bool known = statx(AT_FDCWD, path, 0, STATX_BTIME, &x) == 0 && (x.stx_mask & STATX_BTIME);
    time_t born = known ? (time_t)x.stx_btime.tv_sec : st->st_mtime;
    return born < st->st_mtime ? born : st->st_mtime;
}

/* True when it is another file than the one that was there. */
static bool meet(struct watched *l, const struct stat *st)
{
    if (l->ino == st->st_ino && l->dev == st->st_dev) {
        return false;
    }
    bool another = l->ino != 0;
    l->dev = st->st_dev;
    l->ino = st->st_ino;
    l->since = st->st_size > 0 ? birth_of(l->path, st) : time(NULL);
    l->size = 0;
    return another;
}

/* A new file with the old one's owner and mode, unless a worker was faster. */
static void begin_anew(struct watched *l, const struct stat *old)
{
    struct stat st;
    int fd = open(l->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, old->st_mode & 0777);
    if (fd < 0) {
        return; /* who writes next makes it */
    }
    if (fchown(fd, old->st_uid, old->st_gid) < 0) {
        /* not root: it is ours as the old one was */
    }
    fchmod(fd, old->st_mode & 0777);
    if (fstat(fd, &st) == 0) {
        meet(l, &st);
    }
    close(fd);
}

static int move(struct watched *l, const char *end)
{
    struct timespec now;
    char stamp[OLDLOG_STAMP + 1], *to;
    clock_gettime(CLOCK_REALTIME, &now);
    oldlog_stamp(stamp, &now);
    if (asprintf(&to, "%s.%s%s", l->path, stamp, end) < 0) {
        return -ENOMEM;
    }
    int r = renameat2(AT_FDCWD, l->path, AT_FDCWD, to, RENAME_NOREPLACE) < 0 ? -errno : 0;
    if (r == -EINVAL || r == -ENOSYS) { /* a file system that cannot promise it */
        r = access(to, F_OK) == 0 ? -EEXIST : rename(l->path, to) < 0 ? -errno : 0;
    }
    free(to);
    return r;
}

/* The lock on the directory is for other servers that write to the same file: one at a time, and who comes second sees
 * a file that is new. */
static int lock_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int r = fd < 0 ? -errno : 0;
    free(folder);
    if (r == 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        close(fd);
        return -EAGAIN;
    }
    return r < 0 ? r : fd;
}

/* 0, -EAGAIN when another server is at it, or -errno. */
static int rotate(struct logrotate *r, struct watched *l, const struct stat *seen)
{
    struct stat st;
    int lock = lock_folder(l->path);
    if (lock < 0) {
        return lock;
    }
    int e = lstat(l->path, &st) < 0 ? -errno : 0;
    if (e == 0 && st.st_ino == seen->st_ino && st.st_dev == seen->st_dev) {
        e = move(l, logwork_is_needed(&r->work) ? OLDLOG_RAW : "");
        if (e == 0) {
            begin_anew(l, &st);
        }
    }
    close(lock);
    return e == -ENOENT || e == -EEXIST ? -EAGAIN : e;
}

/* Looking */

static bool is_due(const struct logrotate *r, const struct watched *l, const struct stat *st)
{
    return st->st_size > 0 && ((r->limit > 0 && (uint64_t)st->st_size >= r->limit) ||
                               (r->period != NEVER && time(NULL) >= period_end(r->period, l->since)));
}

/* A file is looked at when it should be full, going by how it has grown. */
static uint64_t next_check(const struct logrotate *r, struct watched *l, off_t size, uint64_t now)
{
    uint64_t wait = CLOCK_US;
    if (r->period != NEVER) {
        time_t left = period_end(r->period, time(NULL)) - time(NULL);
        wait = left < 60 ? (uint64_t)(left > 0 ? left : 1) * SECOND_US : wait;
    }
    if (r->limit > 0) {
        uint64_t grown = size > l->size ? (uint64_t)(size - l->size) : 0;
        uint64_t took = now > l->size_us ? now - l->size_us : 0;
        uint64_t left = r->limit > (uint64_t)size ? r->limit - (uint64_t)size : 0;
        uint64_t full = grown > 0 && l->size_us > 0 ? left * took / grown : CHECK_MAX_US;
        full = full < CHECK_MIN_US ? CHECK_MIN_US : full;
        full = full > CHECK_MAX_US ? CHECK_MAX_US : full;
        wait = full < wait ? full : wait;
    }
    l->size = size;
    l->size_us = now;
    return now + wait;
}

/* True when it was moved. */
static bool look_at(struct logrotate *r, struct watched *l, uint64_t now)
{
    struct stat st;
    bool there = lstat(l->path, &st) == 0;
    if (!there || !S_ISREG(st.st_mode)) {
        bool gone = l->ino != 0 && (there || errno == ENOENT); /* a link or a pipe may be there in its place */
        l->ino = 0;
        l->check_us = next_check(r, l, 0, now);
        return gone;
    }
    bool moved = meet(l, &st);
    time_t wall = time(NULL);
    if (st.st_size == 0 || l->since > wall + AHEAD_MAX_S) {
        l->since = wall;
    }
    if (!is_due(r, l, &st)) {
        l->check_us = next_check(r, l, st.st_size, now);
        return moved;
    }
    int e = rotate(r, l, &st);
    l->size_us = now;
    l->check_us = now + CHECK_MIN_US;
    if (e < 0 && e != -EAGAIN) {
        log_error("Can't rotate the log %s: %s; it is tried again in a minute, and grows meanwhile", l->path,
                  strerror(-e));
        l->size_us = l->check_us = now + TROUBLE_US;
        return moved;
    }
    if (e == 0) {
        r->trim = true;
        r->work.due_us = now;
    }
    return moved || e == 0;
}

bool logrotate_turn(struct logrotate *r, uint64_t now)
{
    bool moved = false;
    if (!r) {
        return false;
    }
    for (size_t i = 0; i < r->n; i++) {
        /* whenever the master is awake anyway: a worker that has written much wakes it */
        if (now >= r->logs[i].check_us || (r->limit > 0 && now >= r->logs[i].size_us + CHECK_MIN_US)) {
            moved |= look_at(r, &r->logs[i], now);
        }
    }
    logwork_turn(&r->work, now);
    if (r->trim && r->work.step == LOGWORK_NONE) {
        r->trim = false;
        oldlogs_trim(r->paths, r->n, &r->limits, time(NULL));
    }
    return moved;
}

void logrotate_ended(struct logrotate *r, pid_t pid, int status)
{
    if (r && logwork_ended(&r->work, pid, status)) {
        r->trim = true;
    }
}

uint64_t logrotate_deadline(const struct logrotate *r)
{
    uint64_t at = r ? logwork_deadline(&r->work) : 0;
    for (size_t i = 0; r && i < r->n; i++) {
        at = at == 0 || r->logs[i].check_us < at ? r->logs[i].check_us : at;
    }
    return at;
}

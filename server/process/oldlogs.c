/* oldlogs.c - log files that were rotated away: their names, and which of them are not kept. */
#include "server/process/oldlogs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"

#define DAY 86400
#define WAIT 60

static const char *const ENDS[] = {"", ".gz", ".zst", OLDLOG_RAW, ".gz" OLDLOG_TMP, ".zst" OLDLOG_TMP};
#define N_ENDS (sizeof(ENDS) / sizeof(ENDS[0]))

/* Names */

void oldlog_stamp(char text[OLDLOG_STAMP + 1], const struct timespec *now)
{
    char whole[96]; /* room for what the compiler can imagine in a struct tm */
    struct tm tm;
    gmtime_r(&now->tv_sec, &tm);
    snprintf(whole, sizeof(whole), "%04d-%02d-%02dT%02d-%02d-%02d.%03ldZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
             tm.tm_hour, tm.tm_min, tm.tm_sec, now->tv_nsec / 1000000);
    memcpy(text, whole, OLDLOG_STAMP);
    text[OLDLOG_STAMP] = '\0';
}

time_t oldlog_time(const char *stamp)
{
    static const char form[] = "dddd-dd-ddTdd-dd-dd.dddZ";
    for (size_t i = 0; i < OLDLOG_STAMP; i++) {
        bool digit = stamp[i] >= '0' && stamp[i] <= '9';
        if (form[i] == 'd' ? !digit : stamp[i] != form[i]) {
            return -1;
        }
    }
    struct tm tm = {0};
    if (sscanf(stamp, "%d-%d-%dT%d-%d-%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) !=
        6) {
        return -1;
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    return timegm(&tm);
}

/* Where the stamp begins in a name of an old file of the log `base`; NULL: it is none. */
static const char *stamp_in(const char *name, const char *base)
{
    size_t n = strlen(base);
    if (strncmp(name, base, n) != 0 || name[n] != '.' || strlen(name) < n + 1 + OLDLOG_STAMP ||
        oldlog_time(name + n + 1) == -1) {
        return NULL;
    }
    for (size_t i = 0; i < N_ENDS; i++) {
        if (strcmp(name + n + 1 + OLDLOG_STAMP, ENDS[i]) == 0) {
            return name + n + 1;
        }
    }
    return NULL;
}

/* Listing */

static int add(struct oldlogs *o, const char *path, const char *stamp, uint64_t size, bool raw)
{
    for (size_t i = o->n; i > 0; i--) {
        struct oldlog *old = &o->list[i - 1];
        size_t n = strlen(path);
        if (strncmp(old->stamp, stamp, OLDLOG_STAMP) == 0 && strncmp(old->path, path, n) == 0 && old->path[n] == '.') {
            old->size += size;
            old->raw |= raw;
            return 0;
        }
    }
    struct oldlog *list = realloc(o->list, (o->n + 1) * sizeof(*list));
    if (!list) {
        return -ENOMEM;
    }
    o->list = list;
    struct oldlog *new = &list[o->n];
    if (asprintf(&new->path, "%s.%.*s", path, OLDLOG_STAMP, stamp) < 0) {
        return -ENOMEM;
    }
    snprintf(new->stamp, sizeof(new->stamp), "%.*s", OLDLOG_STAMP, stamp);
    new->size = size;
    new->raw = raw;
    o->n++;
    return 0;
}

int oldlogs_list(struct oldlogs *o, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char *folder = slash ? strndup(path, slash > path ? (size_t)(slash - path) : 1) : strdup(".");
    DIR *d = folder ? opendir(folder) : NULL;
    int r = folder ? (d ? 0 : -errno) : -ENOMEM;
    const struct dirent *e;
    while (d && r == 0 && (e = readdir(d))) {
        struct stat st;
        const char *stamp = stamp_in(e->d_name, base);
        if (stamp && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
            r = add(o, path, stamp, (uint64_t)st.st_size, strcmp(stamp + OLDLOG_STAMP, OLDLOG_RAW) == 0);
        }
    }
    if (d) {
        closedir(d);
    }
    free(folder);
    return r;
}

static int by_date(const void *a, const void *b)
{
    return strcmp(((const struct oldlog *)a)->stamp, ((const struct oldlog *)b)->stamp);
}

void oldlogs_sort(struct oldlogs *o)
{
    if (o->n > 0) {
        qsort(o->list, o->n, sizeof(*o->list), by_date);
    }
}

void oldlogs_finish(struct oldlogs *o)
{
    for (size_t i = 0; i < o->n; i++) {
        free(o->list[i].path);
    }
    free(o->list);
    *o = (struct oldlogs){0};
}

/* Removing */

static void remove_one(const struct oldlog *old)
{
    if (old->raw) {
        log_warning("The old log %s is removed before it was compressed or archived: there is room for no more",
                    old->path);
    }
    for (size_t i = 0; i < N_ENDS; i++) {
        struct buf name = {0};
        if (buf_printf(&name, "%s%s", old->path, ENDS[i]) == 0 && unlink(name.data) < 0 && errno != ENOENT) {
            log_error("Can't remove the old log %s: %s", name.data, strerror(errno));
        }
        buf_finish(&name);
    }
}

/* Not finished because it was moved away just now: what is too much is looked for again when it is. */
static bool is_waiting(const struct oldlog *old, time_t now)
{
    return old->raw && now < oldlog_time(old->stamp) + WAIT;
}

static void trim_one(const char *path, const struct oldlogs_limits *limits, time_t now)
{
    struct oldlogs o = {0};
    if (oldlogs_list(&o, path) == 0) {
        oldlogs_sort(&o);
        for (size_t i = 0; i < o.n; i++) {
            bool many = limits->keep > 0 && o.n - i > limits->keep;
            bool old = limits->days > 0 && oldlog_time(o.list[i].stamp) + (time_t)limits->days * DAY < now;
            if ((many || old) && !is_waiting(&o.list[i], now)) {
                remove_one(&o.list[i]);
            }
        }
    }
    oldlogs_finish(&o);
}

static void trim_total(const char *const *paths, size_t n, uint64_t most, time_t now)
{
    struct oldlogs o = {0};
    uint64_t total = 0;
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        struct stat st;
        total += stat(paths[i], &st) == 0 ? (uint64_t)st.st_size : 0;
        r = oldlogs_list(&o, paths[i]);
    }
    oldlogs_sort(&o);
    for (size_t i = 0; i < o.n; i++) {
        total += o.list[i].size;
    }
    for (size_t i = 0; i < o.n && r == 0 && total > most; i++) {
        if (!is_waiting(&o.list[i], now)) {
            total -= o.list[i].size;
            remove_one(&o.list[i]);
        }
    }
    oldlogs_finish(&o);
}

void oldlogs_trim(const char *const *paths, size_t n, const struct oldlogs_limits *limits, time_t now)
{
    for (size_t i = 0; i < n && (limits->keep > 0 || limits->days > 0); i++) {
        trim_one(paths[i], limits, now);
    }
    if (limits->total > 0) {
        trim_total(paths, n, limits->total, now);
    }
}

/* oldlogs.h - log files that were rotated away: their names, and which of them are not kept.
 *
 *   access.log.2026-11-25T21-30-05.123Z.gz     when it was moved away, in UTC, so that names sort by date
 *   access.log.2026-11-25T21-30-05.123Z.raw    not finished yet: to be compressed, to be handed to the archive command
 *   ....gz.tmp                                 what is being made of it
 * Only files with such names are ever touched. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define OLDLOG_STAMP 24 /* characters */
#define OLDLOG_RAW ".raw"
#define OLDLOG_TMP ".tmp"

struct oldlog {
    char *path; /* owned, without what stands behind the stamp */
    char stamp[OLDLOG_STAMP + 1];
    uint64_t size; /* of all files with this stamp */
    bool raw;      /* one of them is not finished */
};

struct oldlogs { /* zero it */
    struct oldlog *list;
    size_t n;
};

void oldlog_stamp(char text[OLDLOG_STAMP + 1], const struct timespec *now);
time_t oldlog_time(const char *stamp); /* -1 when it is none */

/* Adds those of the log `path`; 0 or -errno. */
int oldlogs_list(struct oldlogs *o, const char *path);
void oldlogs_sort(struct oldlogs *o); /* by date, oldest first */
void oldlogs_finish(struct oldlogs *o);

struct oldlogs_limits {
    size_t keep;    /* files; 0: any number */
    size_t days;    /* 0: any age */
    uint64_t total; /* bytes of all logs, those that are written included; 0: any */
};

/* Removes what is too much: of each log in `paths`, and of all together. */
void oldlogs_trim(const char *const *paths, size_t n, const struct oldlogs_limits *limits, time_t now);

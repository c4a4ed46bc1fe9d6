/* logwork.h - finishes log files that were rotated away: compresses them and hands them to the archive command, one at
 * a time, in a child of the master with the lowest priority.
 *
 * A file is taken in hand when nobody has it open for writing any more: every writer holds a shared lock on it
 * (linefd.h), and the work begins by getting it alone. What is left to do stands in the names of the files (oldlogs.h):
 * after a crash, or in the next image of the master, it goes on from there. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct settings;

enum logwork_step { LOGWORK_NONE, LOGWORK_COMPRESS, LOGWORK_ARCHIVE };

struct logwork {              /* zero it, then logwork_init */
    const char *const *paths; /* borrowed: the logs */
    size_t n;
    const char *end;     /* ".gz", ".zst" or "" */
    const char *archive; /* borrowed; NULL: none */
    enum logwork_step step;
    pid_t pid, owner;          /* the child; the master */
    char *path;                /* owned: of the file in hand, up to its stamp */
    uint64_t give_up_us;       /* when the child has taken too long */
    uint64_t due_us;           /* when there may be something to do; 0: never */
    uint64_t archive_at_us;    /* no archive command before: it has failed */
    uint64_t archive_pause_us; /* the next wait */
};

void logwork_init(struct logwork *w, const struct settings *s, const char *const *paths, size_t n);
bool logwork_is_needed(const struct logwork *w);              /* files are rotated away as unfinished */
void logwork_turn(struct logwork *w, uint64_t now);           /* begins what can be begun */
bool logwork_ended(struct logwork *w, pid_t pid, int status); /* waitpid gave it. True: it was ours */
uint64_t logwork_deadline(const struct logwork *w);
void logwork_stop(struct logwork *w); /* ends the child; its file is left for the next start */

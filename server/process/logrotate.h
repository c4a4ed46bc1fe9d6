/* logrotate.h - when logs grow too large or too old, they are moved away, and begin anew. A part of the master.
 *
 * The file gets a name with the time in it (oldlogs.h); a new one takes its place, with its owner and mode; then all
 * processes are told to open theirs again. What they write until then goes to the end of the old file, which is
 * compressed only when all have left it (logwork.h). Several servers may write to one file: one of them moves it, the
 * others see that. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct buf;
struct logrotate;
struct settings;

/* -1 with a sentence when what the settings ask for cannot be done here: a program for --log-compress is missing. */
int logrotate_check(const struct settings *s, struct buf *error);

/* NULL: there is nothing to do, since no rotation was asked for or no log is a file; or memory is short. */
struct logrotate *logrotate_create(const struct settings *s);
void logrotate_destroy(struct logrotate *r); /* NULL is fine */

/* Once a turn of the master. True: a log was moved, by us or by somebody else, and is to be opened again. */
bool logrotate_turn(struct logrotate *r, uint64_t now);
void logrotate_ended(struct logrotate *r, pid_t pid, int status); /* a child that waitpid gave, perhaps ours */
uint64_t logrotate_deadline(const struct logrotate *r);           /* when it wants to be called; 0: never */

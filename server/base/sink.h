/* sink.h - where log lines go: a file, stdout or stderr.
 * Lines are collected and reach the file by one write(2) per flush, on an O_APPEND descriptor (linefd.h): whole lines
 * only, so that several processes may share one file. A file that was moved, removed or replaced is noticed within a
 * second of lines to write, and opened again. One sink belongs to one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct buf;
struct sink;
struct log_writer;
struct syslog;

/* `path` is copied; "-" stands for `std_fd` (1 or 2), which is borrowed; NULL: nowhere but where sink_copy says. A
 * missing directory of the file is made (0755 less the umask). A file that cannot be opened is no reason not to serve:
 * the server log says so, lines are counted and dropped, and it is tried again twice a second while there are any. 0 or
 * -ENOMEM. */
int sink_open(struct sink **out, const char *path, int std_fd);
void sink_close(struct sink *s); /* flushes; NULL is fine */

/* Makes a log file and its directories for another user, who will open it. One that is there stays as it is, so that no
 * link which that user may have put there leads to a file of somebody else's. 0 or -errno. */
int sink_make_file(const char *path, uid_t uid, gid_t gid);

void sink_copy(struct sink *s, struct syslog *to);       /* each line goes there, too; borrowed */
void sink_divert(struct sink *s, struct log_writer *to); /* each line goes to its `access`; borrowed */
int sink_reopen(struct sink *s);                         /* 0 or -errno, and then the old file stays */

/* Whole lines are appended to sink_lines; then sink_added is told how that went (0 or -errno: a line could not be
 * made). It flushes by itself when much has gathered. What cannot be written is dropped and counted. */
struct buf *sink_lines(struct sink *s);
void sink_added(struct sink *s, int r);

bool sink_has_lines(const struct sink *s); /* that are not written yet */
size_t sink_written(const struct sink *s); /* bytes, since the last reset */
void sink_reset_written(struct sink *s);

/* Writes what there is. True when some of it waits for a slow reader: to be tried again in a while. */
bool sink_flush(struct sink *s);

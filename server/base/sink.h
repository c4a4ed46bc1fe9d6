/* sink.h - where log lines go: a file, stdout or stderr.
 * Lines are collected and reach the file by one write(2) per flush, on an O_APPEND descriptor: whole lines only,
 * so that several processes may share one file. One sink belongs to one thread. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct sink;
struct log_writer;
struct syslog;

/* `path` is copied; "-" stands for `std_fd` (1 or 2), which is borrowed; NULL: nowhere but where sink_copy says. A
 * missing directory of the file is made (0755 less the umask). 0 or -errno. */
int sink_open(struct sink **out, const char *path, int std_fd);
void sink_close(struct sink *s); /* flushes; NULL is fine */

/* Opens a log file for appending and makes its missing directories: the descriptor (owned by the caller) or -errno. */
int sink_open_file(const char *path);

/* Makes a log file and its directories for another user, who will open it. One that is there stays as it is, so that no
 * link which that user may have put there leads to a file of somebody else's. 0 or -errno. */
int sink_make_file(const char *path, uid_t uid, gid_t gid);

void sink_copy(struct sink *s, struct syslog *to);       /* each line goes there, too; borrowed */
void sink_divert(struct sink *s, struct log_writer *to); /* each line goes to its `access`; borrowed */
int sink_reopen(struct sink *s);                         /* 0 or -errno, and then the old file stays */
int sink_fd(const struct sink *s);

/* Adds `len` bytes that make up whole lines. Flushes by itself when much has gathered. What cannot be kept or
 * written is dropped and counted. */
void sink_append(struct sink *s, const char *data, size_t len);
void sink_flush(struct sink *s);

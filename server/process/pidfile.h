/* pidfile.h - the file that holds the master's pid, and says that it lives.
 * "PID\n", mode 0644, written under another name and renamed; locked until its owner begins to stop, so that a recycled
 * pid cannot block a start: a file that nobody has locked is stale, whatever number it holds. On file systems without
 * locks it is stale when no process of that number runs our program. */
#pragma once

struct buf;
struct pidfile;

/* `old`: what pidfile_adopt gave, or NULL; taken over: kept when it is the same file, else removed. 0, or -errno with a
 * sentence in `error` (and then `old` was removed too). -EWOULDBLOCK: another process has it; *other (NULL: nobody
 * asks) is the pid that it wrote, 0 when it has not yet. */
int pidfile_create(struct pidfile **out, const char *path, struct pidfile *old, long *other, struct buf *error);
void pidfile_refresh(const struct pidfile *p); /* our pid has changed since: we have forked; NULL is fine */
/* The file of a process that is gone, for us to remove. NULL: there is none, somebody has it, or nobody can tell, since
 * the file system has no locks. Absolute. */
struct pidfile *pidfile_seize(const char *path);
void pidfile_clear(const struct pidfile *p, const char *suffix); /* one that is gone had `suffix` added to our path */
/* In the next image of the master: takes over the locked descriptor, copies the path. NULL when memory is short. */
struct pidfile *pidfile_adopt(int fd, const char *path);
/* Renames it; absolute. 0 or -errno, and then it stays what it was. -EWOULDBLOCK: another process has that path. */
int pidfile_move(struct pidfile *p, const char *path);
/* The same: `suffix` falls off the end of its path. 0, or -1 with a sentence, and then it stays what it was. */
int pidfile_promote(struct pidfile *p, const char *suffix, struct buf *error);
/* The owner begins to stop: another process may have the path from now on. The file stays: for scripts it is there as
 * long as the server. NULL is fine. */
void pidfile_release(struct pidfile *p);
int pidfile_fd(const struct pidfile *p);           /* borrowed; close-on-exec; -1 for NULL */
const char *pidfile_path(const struct pidfile *p); /* borrowed; absolute; NULL for NULL */
void pidfile_remove(struct pidfile *p);            /* unlinks it if it is still ours, frees; NULL is fine */
void pidfile_forget(struct pidfile *p);            /* frees only: for a child of the owner; NULL is fine */

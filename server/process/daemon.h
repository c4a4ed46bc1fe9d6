/* daemon.h - what a Unix daemon does to its process: title, pid file, user, detaching, standard streams. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct buf;
struct hooks;
struct settings;

/* --- How we were started: a reload starts ourselves again in just this way --------------------------------------- */
struct launch {
    char *program; /* absolute path of this program as it was called: PATH searched, symlinks kept, so that a swapped
                    * `current` link leads to the new release; what /proc/self/exe says where that is not us */
    char *cwd;     /* $PWD where that is the same directory, so that a symlinked path survives */
    int argc;
    char **argv;
    char **env; /* before anything changed it */
};

/* --- Title: what `ps` shows ----------------------------------------------------------------------------------------
 * Must be the first thing in main. Makes room for titles of any usual length, however short the command line was (by
 * executing ourselves once with a padding variable when argv and environ are too small), moves environ away and keeps
 * copies of all that the titles will overwrite. What it returns lives as long as the process. NULL when memory is
 * short. */
const struct launch *title_init(int argc, char **argv);
void title_hide(void); /* "cwsgi: stopping": neither path nor application. Async-signal-safe */
void title_set(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* struct launch's `program` for this argv[0]. Owned by the caller. NULL when memory is short. */
char *program_path(const char *argv0);

/* --- Pid file ------------------------------------------------------------------------------------------------------
 * "PID\n", mode 0644, written under another name and renamed; locked for life, so that a recycled pid cannot block a
 * start: a file that nobody has locked is stale, whatever number it holds. On file systems without locks it is stale
 * when no process of that number runs our program. */
struct pidfile;

/* `old`: what pidfile_adopt gave, or NULL; taken over: kept when it is the same file, else removed. 0, or -errno with a
 * sentence in `error` (and then `old` was removed too). -EWOULDBLOCK: another process has it; *other (NULL: nobody
 * asks) is the pid that it wrote, 0 when it has not yet. */
int pidfile_create(struct pidfile **out, const char *path, struct pidfile *old, long *other, struct buf *error);
void pidfile_refresh(const struct pidfile *p); /* our pid has changed since: we have forked; NULL is fine */
/* In the next image of the master: takes over the locked descriptor, copies the path. NULL when memory is short. */
struct pidfile *pidfile_adopt(int fd, const char *path);
/* Renames it: `suffix` falls off the end of its path. 0, or -1 with a sentence, and then it stays what it was. */
int pidfile_promote(struct pidfile *p, const char *suffix, struct buf *error);
int pidfile_fd(const struct pidfile *p);           /* borrowed; close-on-exec; -1 for NULL */
const char *pidfile_path(const struct pidfile *p); /* borrowed; absolute; NULL for NULL */
void pidfile_remove(struct pidfile *p);            /* unlinks it if it is still ours, frees; NULL is fine */
void pidfile_forget(struct pidfile *p);            /* frees only: for a child of the owner; NULL is fine */

/* --- Detaching -----------------------------------------------------------------------------------------------------
 * The caller goes on as a daemon: another process, in a session of its own, a child of init. The process that called
 * waits until daemon_report and exits with that status; with 1 when the daemon died without a word. Standard streams
 * stay, so that errors of the start are seen; see stdio_silence. *report_fd: owned, close-on-exec. 0 or -errno. */
int daemonize(struct hooks *hooks, int *report_fd);
void daemon_report(int *report_fd, int status); /* closes it and makes it -1; does nothing when it is -1 */

/* --- Standard streams ----------------------------------------------------------------------------------------------
 */
void stdio_silence(void); /* 0, 1 and 2 become /dev/null */
void stdio_to_log(void);  /* 1 and 2 become the server log (capture_output): again after each log_reopen */

/* --- User ----------------------------------------------------------------------------------------------------------
 * Settings user, group and initgroups for this process: as gunicorn, in workers. Without root only what is already so
 * is allowed. Keeps PR_SET_PDEATHSIG, which a change of user drops. 0, or -1 with a sentence. */
int user_become(const struct settings *s, struct buf *error);

/* As root, for workers that run as somebody else: makes the log files that are missing theirs. Before they are opened,
 * and opened again. 0, or -1 with a sentence. */
int user_make_logs(const struct settings *s, struct buf *error);

/* As root, the same for a unix socket: a front end in the workers' group may connect, whatever umask says of others. */
int user_give(const struct settings *s, const char *path, struct buf *error);

/* "www-data" or "33": 0, or -1 when there is none. A number needs no entry in the user database. */
int user_find(const char *text, uid_t *uid);
int user_find_group(const char *text, gid_t *gid);

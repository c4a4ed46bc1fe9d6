/* daemon.h - what a Unix daemon does to its process: title, user, detaching, standard streams. */
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
    char *cwd;     /* cwd_logical */
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

/* --- Detaching -----------------------------------------------------------------------------------------------------
 * The caller goes on as a daemon: another process, in a session of its own, a child of init. The process that called
 * waits until daemon_report and exits with that status; with 1 when the daemon died without a word. Standard streams
 * stay, so that errors of the start are seen; see stdio_silence. *report_fd: owned, close-on-exec. 0 or -errno. */
int daemonize(struct hooks *hooks, int *report_fd);
void daemon_report(int *report_fd, int status); /* closes it and makes it -1; does nothing when it is -1 */

/* --- Standard streams ----------------------------------------------------------------------------------------------
 */
void stdio_silence(void); /* 0, 1 and 2 become /dev/null */

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

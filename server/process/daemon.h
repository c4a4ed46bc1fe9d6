/* daemon.h - what a Unix daemon needs of its process: how it was started, detaching, standard streams. */
#pragma once

struct hooks;

/* How we were started: a reload starts ourselves again in just this way */
struct launch {
    char *program; /* absolute path of this program as it was called: PATH searched, symlinks kept, so that a swapped
                    * `current` link leads to the new release; what /proc/self/exe says where that is not us */
    char *cwd;     /* cwd_logical */
    int argc;
    char **argv;
    char **env; /* before anything changed it */
};

/* struct launch's `program` for this argv[0]. Owned by the caller. NULL when memory is short. */
char *program_path(const char *argv0);

/* Detaching.
 * The caller goes on as a daemon: another process, in a session of its own, a child of init. The process that called
 * waits until daemon_report and exits with that status; with 1 when the daemon died without a word. Standard streams
 * stay, so that errors of the start are seen; see stdio_silence. *report_fd: owned, close-on-exec. 0 or -errno. */
int daemonize(struct hooks *hooks, int *report_fd);
void daemon_report(int *report_fd, int status); /* closes it and makes it -1; does nothing when it is -1 */

/* Standard streams */
void stdio_silence(void); /* 0, 1 and 2 become /dev/null */

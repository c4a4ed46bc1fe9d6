/* reexec.h - reload in place: listeners and worker pids live through execve; signals wait meanwhile.
 * The state travels as text in a memory file whose descriptor number is in the environment (CWSGI_HANDOVER). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "server/net/listener.h"

struct launch;

#define HANDOVER_NO_SLOT ((unsigned)-1) /* of a worker that the scoreboard does not show any more */

struct handover_worker {
    pid_t pid;
    unsigned slot;
    unsigned age;
    bool retiring; /* was told to finish already */
    bool ended;    /* between two images, and was waited for: `pid` may be another's by now */
    int status;    /* of waitpid, when it has ended */
};

struct handover {
    int fd;                          /* owned: the file that it was read from; -1: none */
    struct listeners listeners;      /* owned until taken */
    int scoreboard_fd;               /* owned until taken, then -1; -1: none */
    int tickets_fd;                  /* as above */
    int master_fd[2];                /* the pipe that tells workers of our end: read end, write end; as above */
    int wake_fd[2];                  /* the pipe that wakes the master: signals, ready workers; as above */
    int pidfile_fd;                  /* owned until taken, then -1; -1: none */
    int certs_fd;                    /* the certificates that serve (renewal.h); owned until taken, then -1; -1: none */
    char *pidfile_path;              /* owned; NULL: none */
    int stacks_fd;                   /* owned until taken, then -1; -1: none */
    int control_fd, control_lock_fd; /* owned until taken, then -1; -1: none */
    char *control_path;              /* owned; NULL: none. Of the socket */
    char *control_lock_path;         /* the same. Of the lock */
    int *waiters;                    /* owned, and what is in it until taken: clients that asked for this reload */
    size_t n_waiters;
    char *counts;                    /* owned: what scoreboard_save wrote, should the page not be understood; or NULL */
    bool newborn;                    /* what follows USR2: the next image is a second master, and gets listeners only */
    pid_t elder, younger;            /* the other master of an upgrade (upgrade.h); 0: none */
    bool served;                     /* a worker was ready once */
    unsigned age;                    /* of the youngest worker */
    struct handover_worker *workers; /* owned */
    size_t n_workers;
    char *log_path;  /* owned; NULL: none. Of the server log, from the root on */
    int log_form;    /* enum log_form */
    unsigned failed; /* images that did not start since the trial was good (retry.h) */
};

void handover_init(struct handover *h); /* nothing in it */

/* What the image before us left, or NULL in *out on a first start. 0 or -errno. */
int handover_read(struct handover **out);
/* What goes wrong before the settings are known is told where the image before us wrote to: after -D nobody reads
 * stderr. If that log cannot be opened, stderr has it. */
void handover_open_log(const struct handover *h);
void handover_settled(struct handover *h); /* the new image serves: it will not be needed again. NULL is fine */
void handover_destroy(struct handover *h); /* what handover_read gave: closes what was not taken; NULL is fine */

/* Writes the state and executes the program again, from where and with what it was started: only returns on failure,
 * with -errno and everything as before. The caller has blocked all signals, so that none is lost between the images;
 * the new one unblocks them when it is ready. */
int reexec(const struct launch *l, const struct handover *h);

/* The same once more, with what the image before us left: nothing of it may have been closed meanwhile. */
int reexec_again(const struct launch *l, const struct handover *h);

/* For that image, in the file that it will read: a worker has ended, so many images did not start. 0 or -errno. */
int handover_note_end(struct handover *h, struct handover_worker *w, int status);
int handover_note_failed(struct handover *h, unsigned failed);

/* What is known to be in the way: a folder that cannot be entered or a program that cannot be executed, and why
 * (-errno). 0: nothing is. `path` is borrowed from `l`. */
int reexec_obstacle(const struct launch *l, const char **path);

/* The environment we were started with; `extra` (borrowed, or NULL) in place of a handover. The array is owned by the
 * caller, the strings are borrowed. NULL when memory is short. */
char **reexec_env(const struct launch *l, char *extra);

/* program.h - what the steps of the program share: the state that main.c takes from one to the next, how a step says
 * that it goes no further, and what the process is called. For main.c and the files of this folder; main thread.
 * A step returns GO_ON, or the exit status that the process is to leave with; why was told by then. Those that get an
 * `error` use it as scratch space: it is empty at first, and afterwards when they go on. */
#pragma once

#include <stdbool.h>

#include "python/venv.h"
#include "server/config/cli.h"
#include "server/config/settings.h"
#include "server/net/listener.h"
#include "server/process/hooks.h"
#include "server/process/reexec.h"

struct buf;

#define GO_ON (-1) /* of a step that may also say: leave with this exit status */

struct program { /* owned by main; each member is there from the step that makes it on */
    const struct launch *launch;
    struct handover *handover; /* NULL on a first start */
    struct cli cli;
    struct settings settings;
    struct venv venv;
    const char *app_name; /* "hello:app"; borrowed from cli or settings */
    struct hooks hooks;
    struct renewal *renewal;               /* NULL: plain */
    struct tickets *tickets;               /* the same */
    struct app *app;                       /* NULL until loaded */
    struct pidfile *pidfile;               /* NULL: none */
    struct statsd *statsd;                 /* NULL: nothing is told to it */
    struct syslog *syslog, *access_syslog; /* NULL: nothing goes there */
    struct listeners listeners;
    struct scoreboard *scoreboard;
    struct control *control;     /* NULL: none */
    struct stackdump *stackdump; /* NULL: none */
    struct master *master;
    int report_fd;    /* of a daemon (daemon.h); else -1 */
    bool by_ctl;      /* `cwsgictl start` has started us: one server is enough, and it wants to hear of it */
    bool interpreter; /* runs */
};

/* This is not a new process, but the next image of a master that serves. */
bool program_is_reload(const struct program *p);

/* It only looks (check.h), and serves nobody. */
bool program_is_check(const struct program *p);

/* One sentence where the user looks: stderr, and the server log when that is a file. Returns the exit status. */
int program_refuse(struct program *p, struct buf *error);
int program_refuse_errno(struct program *p, const char *what, int r); /* the same: "WHAT: what -errno means" */

/* Of the server, among others; NULL as long as only the configuration file may know it. Borrowed from settings. */
const char *program_name(const struct program *p);

/* Where the server log is, from the root on, whatever the working directory: owned by the caller. NULL when it is no
 * file, or memory is short. */
char *program_log_path(const struct program *p);

/* What `ps` shows. It begins with the venv's path, so that the `ps | grep` of users' scripts finds us by it. */
void program_title(const struct program *p, const char *role);

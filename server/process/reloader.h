/* reloader.h - --reload: a worker that sees a source file change asks the master for a reload.
 * The worker knows which files it has loaded. The reload is the usual one (reexec.h): code that does not load is
 * refused by the trial, and the next change is waited for while the old code serves. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

struct hooks;
struct reloader;
struct scoreboard;
struct slot;

struct reloader_deps { /* all borrowed, outlive the reloader */
    struct hooks *hooks;
    struct scoreboard *scoreboard;
    const struct slot *slot; /* the worker's own */
    pid_t master;
    bool poll; /* reload_engine */
};

/* Begins to watch, on the loop. 0 or -errno. */
int reloader_create(struct reloader **out, uv_loop_t *loop, const struct reloader_deps *deps);
void reloader_destroy(struct reloader *r); /* its handles are closed; NULL is fine */

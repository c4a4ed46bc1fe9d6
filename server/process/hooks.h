/* hooks.h - what the process model asks of the language runtime: plugged in by python/.
 * All are called on the main thread. No pointer may be NULL: python/pyhooks.c gives every one but wait_begin and
 * wait_end, which main.c plugs. Those that return int: 0 to go on, -1 when the hook raised (it was logged): the caller
 * gives up as gunicorn does. */
#pragma once

#include <sys/types.h>

struct hooks {
    /* Around fork: what the interpreter needs. */
    void (*before_fork)(struct hooks *h);
    void (*after_fork_parent)(struct hooks *h);
    void (*after_fork_child)(struct hooks *h);

    /* Around the master's waiting: threads that a hook has started run meanwhile. */
    void (*wait_begin)(struct hooks *h);
    void (*wait_end)(struct hooks *h);

    /* The configuration file's server hooks; nothing when it defines none. */
    int (*on_starting)(struct hooks *h);
    int (*when_ready)(struct hooks *h);
    void (*on_reload)(struct hooks *h);
    int (*pre_fork)(struct hooks *h, unsigned age);
    void (*child_exit)(struct hooks *h, pid_t pid, unsigned age);
    void (*nworkers_changed)(struct hooks *h, int now, int before);
    void (*on_exit)(struct hooks *h);
    int (*post_fork)(struct hooks *h, unsigned age);        /* in the worker, before the application is loaded */
    int (*post_worker_init)(struct hooks *h, unsigned age); /* in the worker, after it is loaded */
    void (*worker_int)(struct hooks *h);
    void (*worker_abort)(struct hooks *h);
    void (*worker_exit)(struct hooks *h, unsigned age);
};

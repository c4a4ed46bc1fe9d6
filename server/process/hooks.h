/* hooks.h - what the process model asks of the language runtime: plugged in by python/.
 * All but `stacks` are called on the main thread. No pointer may be NULL: python/pyhooks.c gives every one but
 * wait_begin and wait_end, which main.c plugs. Those that return int: 0 to go on, HOOK_ENDS(status)
 * when the hook raised, or called sys.exit (it was logged): the caller gives up as gunicorn does. */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <sys/types.h>

#define HOOK_ENDS(status) (-1 - (status)) /* negative; and back from it: the exit status of who gives up */

struct hooks {
    /* Around fork: what the interpreter needs. */
    void (*before_fork)(struct hooks *h);
    void (*after_fork_parent)(struct hooks *h);
    void (*after_fork_child)(struct hooks *h);

    /* Around the master's waiting: threads that a hook has started run meanwhile. */
    void (*wait_begin)(struct hooks *h);
    void (*wait_end)(struct hooks *h);

    /* The configuration file's server hooks; nothing when it defines none. worker_abort is not among them: it is called
     * by the interpreter's own handler of SIGABRT. */
    int (*on_starting)(struct hooks *h);
    int (*when_ready)(struct hooks *h);
    void (*on_reload)(struct hooks *h);
    int (*pre_exec)(struct hooks *h);
    int (*pre_fork)(struct hooks *h, unsigned age);
    void (*child_exit)(struct hooks *h, pid_t pid, unsigned age);
    void (*nworkers_changed)(struct hooks *h, int now, int before);
    void (*on_exit)(struct hooks *h);
    int (*post_fork)(struct hooks *h);        /* in the worker, before the application is loaded */
    int (*post_worker_init)(struct hooks *h); /* in the worker, after it is loaded */
    void (*worker_int)(struct hooks *h);
    void (*worker_exit)(struct hooks *h);

    /* What their arguments know besides: the listening sockets from now on; the worker whose pre_fork was called last
     * is this process (told in the master and, with its own pid, in the worker). */
    void (*listening)(struct hooks *h, const int *fds, size_t n);
    void (*forked)(struct hooks *h, pid_t pid);

    /* The Python stacks of all threads into the server log, that of `thread` first. Any thread, at once: what it takes
     * is done on a thread of its own. */
    void (*stacks)(struct hooks *h, pthread_t thread);

    /* With --reload: each file that is to be watched. */
    void (*sources)(struct hooks *h, void (*each)(void *arg, const char *path), void *arg);
};

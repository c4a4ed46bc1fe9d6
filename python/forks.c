/* forks.c - children that the application forks by itself. */
#include "python/forks.h"

#include <Python.h>
#include <pthread.h>
#include <unistd.h>

#include "python/interp.h"
#include "python/pyerror.h"

bool forks_is_child;

static void on_forked(void)
{
    forks_is_child = true;
}

void forks_watch(void)
{
    static bool watched;

    if (!watched && pthread_atfork(NULL, NULL, on_forked) == 0) {
        watched = true;
    }
    forks_is_child = false;
}

void forks_end(void)
{
    int status = 0;

    if (!PyErr_Occurred()) {
        log_warning("A child that the application has forked comes back from it, and ends here (pid: %ld); it should "
                    "call os._exit()",
                    (long)getpid());
    } else if (PyErr_ExceptionMatches(PyExc_SystemExit)) {
        status = pyerror_exit_status();
    } else {
        pyerror_log(LOG_LEVEL_ERROR, "Exception in a child that the application has forked (pid: %ld)", (long)getpid());
        status = 1;
    }
    interp_flush();
    _exit(status);
}

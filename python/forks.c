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

/* sys.exit(n), sys.exit() and sys.exit("text"), as `python` takes them. */
static int status_of_exit(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *code = value ? PyObject_GetAttrString(value, "code") : NULL;
    int status = 1;

    if (code == Py_None) {
        status = 0;
    } else if (code && PyLong_Check(code)) {
        status = (int)PyLong_AsLong(code);
    } else if (code) {
        PySys_FormatStderr("%S\n", code);
    }
    PyErr_Clear();
    Py_XDECREF(code);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return status;
}

void forks_end(void)
{
    int status = 0;

    if (!PyErr_Occurred()) {
        log_warning("A child that the application has forked comes back from it, and ends here (pid: %ld); it should "
                    "call os._exit()",
                    (long)getpid());
    } else if (PyErr_ExceptionMatches(PyExc_SystemExit)) {
        status = status_of_exit();
    } else {
        pyerror_log(LOG_LEVEL_ERROR, "Exception in a child that the application has forked (pid: %ld)", (long)getpid());
        status = 1;
    }
    interp_flush();
    _exit(status);
}

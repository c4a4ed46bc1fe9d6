#include "python/stacks.h"

#include <Python.h>
#include <signal.h>

#include "python/pyerror.h"

void stacks_enable(int fd)
{
    PyObject *faulthandler = PyImport_ImportModule("faulthandler");
    PyObject *r = faulthandler ? PyObject_CallMethod(faulthandler, "register", "iiO", SIGURG, fd, Py_True) : NULL;

    if (!r) {
        pyerror_log(LOG_LEVEL_WARNING, "Python's stacks cannot be shown when a request takes too long");
    }
    Py_XDECREF(r);
    Py_XDECREF(faulthandler);
}

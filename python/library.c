/* library.c - the standard library: found before files of the application, loaded before workers are forked. */
#include "python/library.h"

#include <Python.h>

#include "python/interp.h"
#include "python/pyerror.h"
#include "python/pyhooks.h"

#define MODULE "_cwsgi_library"

void library_first(void)
{
    if (pyhooks_make_module(MODULE, library_source, PyDict_New()) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "Files of the application may hide the standard library");
    }
}

void library_load(void)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), MODULE); /* borrowed */
    PyObject *r = module ? PyObject_CallMethod(module, "load", NULL) : NULL;

    if (!r) {
        pyerror_log(LOG_LEVEL_ERROR, "The standard library could not be loaded for all workers");
    }
    Py_XDECREF(r);
    interp_freeze();
}

/* module.h - the built-in _cwsgi module: heap types and their state.
 * One module an interpreter; nothing in it is static but code. */
#pragma once

#include <Python.h>

struct module_state { /* owned by the module */
    PyTypeObject *start_response;
    PyTypeObject *write;
    PyTypeObject *hints;
    PyTypeObject *input;
    PyTypeObject *errors;
    PyTypeObject *file_wrapper;
};

PyMODINIT_FUNC PyInit__cwsgi(void);

struct module_state *module_state(PyObject *module); /* borrowed */

/* A function in a table that wants object pointers: ISO C has no such conversion, POSIX has. */
#define MODULE_FUNCTION(f) (__extension__(void *)(f))

/* Objects that an application may share between threads lock themselves where no GIL does it. */
#if PY_VERSION_HEX < 0x030D0000
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

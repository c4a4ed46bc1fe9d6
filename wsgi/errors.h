/* errors.h - wsgi.errors into the error log.
 * Plain text, as gunicorn writes it: each line (or what was written before a flush) is one write(2). Usable at any
 * time, by any thread. */
#pragma once

#include <Python.h>

struct module_state;

extern PyType_Spec errors_spec;

PyObject *errors_new(const struct module_state *s);

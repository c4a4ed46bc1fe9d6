/* input.h - wsgi.input over a body.
 * An application may keep the object after its request has ended: then every method raises ValueError. */
#pragma once

#include <Python.h>

struct body;
struct module_state;

extern PyType_Spec input_spec;

PyObject *input_new(const struct module_state *s);           /* without a body: as after input_end */
void input_begin(PyObject *object, const struct body *body); /* borrowed until input_end; NULL: empty */
void input_end(PyObject *object);

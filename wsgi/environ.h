/* environ.h - a request as an environ dict. PEP 3333, "environ Variables".
 * What all requests share is prepared once; each request gets a copy of it. */
#pragma once

#include <Python.h>

struct environ;
struct exchange;
struct module_state;
struct settings;

struct environ *environ_create(const struct settings *s, const struct module_state *types); /* NULL with an exception */
void environ_destroy(struct environ *e);                                                    /* NULL is fine */

/* A new dict; `input` becomes wsgi.input, `hints` wsgi.early_hints; x->socket, if there is one, is taken over. NULL
 * with an exception. */
PyObject *environ_make(struct environ *e, struct exchange *x, PyObject *input, PyObject *hints);

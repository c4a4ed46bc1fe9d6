/* variables.h - the variables of environ that the access log shows, as the application has left them.
 * With the interpreter, on the thread that ends the call. */
#pragma once

#include <Python.h>

struct exchange;

/* Copies what x->wanted names out of environ, `dict`, into x->variables: any spelling of a name finds it, as in
 * gunicorn; a value that is no text is shown as str() has it. When memory is short there is nothing. No exception is
 * left. */
void variables_keep(struct exchange *x, PyObject *dict);

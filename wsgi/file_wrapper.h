/* file_wrapper.h - wsgi.file_wrapper, as a file the response can send. PEP 3333, "Optional Platform-Specific File
 * Handling". */
#pragma once

#include <Python.h>

struct chunk;

extern PyType_Spec file_wrapper_spec; /* file_wrapper(filelike, block_size=8192) */

/* The file behind a wrapper, from where it stands to its end: 1 with a chunk whose release closes its own descriptor,
 * so that the application may close the file at any time; 0 when it must be read through Python. No exception is left
 * set. */
int file_wrapper_chunk(PyObject *wrapper, struct chunk *out);

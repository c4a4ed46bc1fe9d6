/* latin1.h - str objects of bytes: each byte becomes the character of the same number (PEP 3333, "Unicode Issues").
 * With the interpreter. All return a new reference, or NULL with an exception. */
#pragma once

#include <Python.h>
#include <stdint.h>

#include "server/base/str.h"

PyObject *latin1_new(struct str s);
PyObject *latin1_decoded(struct str s); /* percent-decoded; what is no escape stays as it is */
PyObject *latin1_number(uint64_t n);

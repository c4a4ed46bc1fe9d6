/* libpython.h - loads the Python of an environment into this process, for a cwsgi that is linked to none (launcher.c).
 * No Python code runs here. */
#pragma once

struct buf;
struct venv;

/* The shared library of the interpreter that has made the environment: where it lies beside that interpreter, else
 * where the loader looks. What is loaded afterwards finds its symbols; it stays. 0, or -1 with one sentence in `error`.
 */
int libpython_load(const struct venv *v, struct buf *error);

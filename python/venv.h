/* venv.h - finds the virtual environment that this process serves.
 * In order: the venv that the binary lives in (pyvenv.cfg above its bin/), VIRTUAL_ENV, else the Python that cwsgi was
 * built with; a build that is bound to no Python (-Dlibpython=runtime) takes python3.N beside the binary, as in a conda
 * environment, or on PATH. No Python code runs and no Python API is used here. */
#pragma once

struct buf;

struct venv {
    char *python; /* owned: absolute path of the interpreter that we stand for: sys.executable */
    char *prefix; /* owned: its environment, e.g. /home/u/hello_flask/venv */
    char *title;  /* owned: prefix + "/bin/cwsgi": what process titles begin with */
    char *home;   /* owned: the folder of the interpreter that has made the venv; without a venv that of `python` */
};

/* `program`: absolute path of our binary as it was called. 0, or -1 with one sentence in `error`, e.g. when the venv is
 * for another version of Python than the one we are linked to (both are named). */
int venv_find(struct venv *v, const char *program, struct buf *error);
void venv_finish(struct venv *v);

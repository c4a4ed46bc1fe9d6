/* interp.h - start and stop the interpreter; what it needs around fork.
 * The interpreter is started once, in the process that becomes the master; workers inherit it by fork. The thread that
 * started it holds the interpreter's lock until gil.h says otherwise. */
#pragma once

struct buf;
struct hooks;
struct venv;

/* 0, or -1 with one sentence in `error`. argv becomes sys.argv (argv[0]: our own path). */
int interp_start(const struct venv *venv, int argc, char **argv, struct buf *error);
/* The end of a Python process, as `python` would end: threads that are no daemons are waited for, atexit functions run,
 * open files flushed, modules and what is in them freed. Nothing may be done with the interpreter after it. */
void interp_stop(void);

/* Text in the buffers of sys.stdout and sys.stderr: after a fork it would be written twice, after execve never. */
void interp_flush(void);

/* What is loaded is there to stay: the garbage collector leaves it alone from now on, so that the pages stay shared
 * after a fork. */
void interp_freeze(void);

/* Fills before_fork, after_fork_parent, after_fork_child. */
void interp_plug(struct hooks *h);

/* What must be in place before the application or a configuration file is loaded, in gunicorn's order: enter `chdir`,
 * its path (or $PWD where that is the same directory) to sys.path[0], each `pythonpath` entry in front. 0 or -1 with a
 * sentence. */
int interp_set_paths(const char *dir, const char *pythonpath, struct buf *error);

/* os.environ[name] = value, which sets the C environment too (raw_env). 0, or -1 when it was refused
 * (it was logged). */
int interp_setenv(const char *name, const char *value);

/* configfile.h - runs the Python configuration file; its names go to the table of settings.
 * Needs a running interpreter. The namespace stays alive for the hooks that it defines (pyhooks.c). */
#pragma once

struct _object; /* PyObject */
struct buf;
struct settings;

/* `where`: as -c says it: a path, "file:PATH" or "python:MODULE"; NULL: ./gunicorn.conf.py and ./cwsgi.conf.py, if they
 * exist. Names that are no setting are ignored. 0, or -1 with a sentence in `error` (a traceback was logged where there
 * is one). */
int configfile_run(struct settings *s, const char *where, struct buf *error);

/* The function that the file gave for a server hook ("post_fork"), or its dict for a setting that is one; or NULL.
 * Borrowed; lives until the process ends. */
struct _object *configfile_object(const char *name);

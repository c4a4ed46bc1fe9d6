/* pyhooks.h - calls the Python hooks: plugs struct hooks.
 * Hooks get stand-ins for gunicorn's arbiter, worker, request and response: log, cfg, pid, age, address and the like,
 * which is what published configuration files use. Undefined hooks cost nothing. */
#pragma once

#include <stdbool.h>

struct _object; /* PyObject */
struct hooks;
struct settings;

/* Fills every pointer of `h` (interp_plug included). After configfile_run, with the interpreter held. */
void pyhooks_plug(struct hooks *h, const struct settings *s);

/* A module that is made of a text of ours. `values`, a dict, is put into it before, and taken over; NULL with an
 * exception is passed on. 0, or -1 with an exception. */
int pyhooks_make_module(const char *name, const char *source, struct _object *values);

int pyhooks_need_standins(const struct settings *s); /* makes them, if they are not there. 0, or -1 with an exception */
void pyhooks_loaded(struct _object *callable);       /* hooks find the application in worker.wsgi, if there is a hook */
bool pyhooks_loggers_touched(void);                  /* see loggers.py */

/* With --reload: what to serve, as load_app takes it, while the application does not load. */
#define PYHOOKS_STOPGAP "_cwsgi_reload:stopgap()"

/* The hooks around each request, for wsgi/. A member is NULL when the configuration does not define that hook. */
struct pyhooks_around {
    struct _object *pre, *post; /* owned */
};

/* 0, or -1 with an exception. */
int pyhooks_around(struct pyhooks_around *a);
void pyhooks_around_finish(struct pyhooks_around *a);

/* `env`, an environ dict, stands for the request; what the hook changes in that is changed in env. What the hook saw, a
 * new reference for pyhooks_after_request, or NULL with the hook's exception: gunicorn then answers 500. */
struct _object *pyhooks_before_request(const struct pyhooks_around *a, struct _object *env);
/* args: a tuple of what pyhooks_before_request gave, or None; environ; status: str; headers: list of (name, value);
 * bytes of the body; its Content-Length or None. NULL: it could not be made. A hook that raises is logged. */
void pyhooks_after_request(const struct pyhooks_around *a, struct _object *args);

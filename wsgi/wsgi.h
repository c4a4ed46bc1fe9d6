/* wsgi.h - begin, next, end: plugs struct app. PEP 3333. */
#pragma once

#include "python/load.h"

struct app;
struct settings;

/* Tells Python of the built-in module _cwsgi. Before interp_start. 0, or -1 when memory is short. */
int wsgi_register(void);

/* Loads the application that `address` names and makes it a struct app. Called with the interpreter held, by the worker
 * (or by the master when it preloads). On failure it was logged. */
enum load_result wsgi_create(struct app **out, const struct settings *s, const char *address);

/* NULL is fine; interpreter held, nothing lent to the server any more, no exchange between begin and end. */
void wsgi_destroy(struct app *a);

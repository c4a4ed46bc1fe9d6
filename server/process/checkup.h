/* checkup.h - asks the loaded application for one path, as a client of a worker would.
 * The request goes through HTTP, executor and application, over a pair of sockets instead of the network, in a process
 * that is no worker: it has no listeners, writes no access log, and nobody watches it. */
#pragma once

struct app;
struct buf;
struct settings;

/* The status that check_path was answered with; -1 with a sentence in `error`: the question could not be put, or there
 * was no answer. Interpreter held. */
int checkup_run(const struct settings *s, struct app *app, struct buf *error);

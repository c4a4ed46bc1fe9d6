/* reload.h - the gate of a reload: a trial process loads the new release.
 * The trial is the program itself with --check-config, in a child. What it writes goes to the server log, and its end
 * is kept for whoever asked. Exit status 0 means that the release is good. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "server/base/buf.h"

struct launch;
struct news;
struct settings;

enum reload_state {
    RELOAD_NONE,
    RELOAD_TRYING,
    RELOAD_LATE,    /* the trial takes too long: it was asked where it stands, and is killed next */
    RELOAD_GOOD,    /* the next image may come */
    RELOAD_REFUSED, /* the old release keeps serving */
};

struct reload {                      /* what reload_init made; the first three are for whoever asked */
    enum reload_state state;         /* of the newest trial */
    unsigned number;                 /* of trials so far: a later one takes the place of one that still runs */
    struct buf said;                 /* owned: the last that the newest trial wrote; when it was refused, why */
    const struct launch *launch;     /* borrowed */
    const struct settings *settings; /* borrowed */
    pid_t trial;                     /* 0: none */
    int out;                         /* owned: what the trial writes; -1: none */
    struct buf rest;                 /* owned: of that, a line whose end has not come yet */
    uint64_t at_us;                  /* when it takes too long, or is killed */
};

void reload_init(struct reload *r, const struct launch *launch, const struct settings *settings);
void reload_finish(struct reload *r);

int reload_seconds(const struct settings *s);    /* how long a trial may take */
void reload_start(struct reload *r);             /* in place of a trial that still runs; may refuse at once */
void reload_cancel(struct reload *r);            /* ends the trial, if there is one */
void reload_forget(struct reload *r);            /* in a worker: the trial is the master's */
void reload_ended(struct reload *r, int status); /* waitpid gave the trial's end */
void reload_refuse(struct reload *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For the master's loop. */
void reload_await(const struct reload *r, struct news *news);
void reload_tend(struct reload *r, uint64_t now);
uint64_t reload_deadline(const struct reload *r); /* when it wants to be called again, or 0 */

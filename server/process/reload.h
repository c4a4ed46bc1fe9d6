/* reload.h - the gate of a reload: a trial process loads the new release.
 * The trial is the program itself with --check-config, in a child whose output goes to the server log. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct launch;
struct settings;

struct reload {                      /* zero it, but for the first two */
    const struct launch *launch;     /* borrowed */
    const struct settings *settings; /* borrowed */
    pid_t trial;                     /* 0: none */
    uint64_t end_us;                 /* when it is killed */
};

int reload_start(struct reload *r, uint64_t now);  /* in place of a trial that still runs. 0 or -errno */
void reload_cancel(struct reload *r);              /* ends the trial, if there is one */
bool reload_ended(struct reload *r, int status);   /* waitpid gave the trial's end: true when the release is good */
void reload_watch(struct reload *r, uint64_t now); /* once a turn of the master */
uint64_t reload_deadline(const struct reload *r);  /* when it wants to be called again, or 0 */

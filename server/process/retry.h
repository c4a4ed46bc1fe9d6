/* retry.h - after a reload, when the next image of the master does not start: the workers serve on meanwhile.
 * Its trial was good, so something has changed in between. The program is executed again and again until it starts, or
 * a signal ends the server. */
#pragma once

struct handover;
struct launch;

/* Waits 2 s, longer each time up to a minute, or until SIGHUP, and executes the program again, with the same handover:
 * does not return then. Else the exit status: a signal has ended the server, workers and all; or nothing is left to go
 * on with. */
int retry_run(const struct launch *l, struct handover *h);

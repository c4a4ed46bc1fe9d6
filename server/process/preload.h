/* preload.h - whether the application may be loaded before workers are forked: what loading it leaves behind.
 * Threads do not live through a fork, and a socket that several workers share mixes up what they say. Since what was
 * imported cannot be taken back, a child tries it. */
#pragma once

#include <stdbool.h>

struct hooks;

struct preload_finding {
    int status;       /* what `load` gave; -1: it took too long, or the child was ended */
    unsigned threads; /* that run afterwards, beside the one that has loaded it */
    unsigned sockets; /* that are open afterwards, and were not before */
    char peer[64];    /* whom the last of them is connected to; "": nobody */
};

/* Calls `load` in a child, for `seconds` at the longest, or until a signal that ends the server is pending. 0 or
 * -errno. Interpreter held. */
int preload_try(struct hooks *hooks, int (*load)(void *arg), void *arg, int seconds, struct preload_finding *f);

unsigned preload_threads(void); /* of this process */

/* Nothing is left behind. */
bool preload_is_clean(const struct preload_finding *f);
/* One line in the log: which was chosen, and why. */
void preload_log(const struct preload_finding *f);

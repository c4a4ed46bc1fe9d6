/* upgrade.h - USR2: a second master of the program as it is now, beside this one, on the same listening sockets.
 * Each has workers of its own; the clients are shared until one of the two is told to stop. The younger one's pid file
 * has ".2" behind its name until the elder one is gone: then it is promoted, and the file gets its own name. As long as
 * there are two, neither removes unix sockets, and the end of one is no news for systemd but the other's pid. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct handover;
struct hooks;

struct upgrade {   /* zero it */
    bool asked;    /* USR2 came */
    bool newborn;  /* we are the child that is about to execute the program */
    pid_t elder;   /* the master that started us and still lives; 0: none */
    pid_t younger; /* the master that we have started; 0: none */
};

#define UPGRADE_SUFFIX ".2"

void upgrade_take_over(struct upgrade *u, const struct handover *h); /* in a new image */
void upgrade_hand_over(const struct upgrade *u, struct handover *h);

/* USR2. With a second master already it is ignored, with a line in the log. */
void upgrade_ask(struct upgrade *u);
/* True in the child, which is to execute the program: signals are blocked there. */
bool upgrade_start(struct upgrade *u, struct hooks *hooks);

bool upgrade_ended(struct upgrade *u, pid_t pid, int status); /* waitpid gave it: true when it was the younger one */
bool upgrade_promoted(struct upgrade *u);                     /* each turn: true once, when the elder one is gone */

pid_t upgrade_other(const struct upgrade *u);      /* the master that goes on when this one stops; 0: none */
const char *upgrade_name(const struct upgrade *u); /* of this master in the log */

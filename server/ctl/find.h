/* find.h - the servers of this user, and which one is meant. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/ctl/ask.h"

struct server {
    char *socket;   /* owned */
    char *identity; /* owned: "KEY VALUE" lines, as server/process/status.h has them */
    long pid;
};

struct servers {
    struct server *list; /* owned */
    size_t n;
};

#define FIND_SILENT "not answering" /* the state of one that is there, and does not say who it is */

int find_all(struct servers *all); /* 0 or -ENOMEM */
bool find_is_silent(const struct server *s);
void find_finish(struct servers *all);

/* The next value of a key, behind the one at `after` (NULL: the first); its length in *len. NULL: no more. */
const char *find_value(const struct server *s, const char *key, const char *after, size_t *len);

/* Keeps those that are meant by `what`: a pid, a pid file, a socket, a directory, an address, a port, a name or an
 * application; if there are none, those that do not say who they are. NULL: of several, those of the current directory.
 */
void find_keep(struct servers *all, const char *what);
void find_keep_pid(struct servers *all, long pid);

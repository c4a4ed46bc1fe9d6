/* runfolder.h - the folders where control sockets of a user's servers lie.
 * The first that can be had is taken: ~/.cwsgi, then the system's folder for the user, then one in /tmp. Home first:
 * the system's folder is taken away when the user logs out, and a server goes on. Who looks for servers looks in all.
 * In a folder, each server has NAME.sock and, locked as long as it lives, NAME.pid. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct buf;

#define RUNFOLDERS 3 /* candidates */

/* Between `cwsgictl start` and the cwsgi that it starts: the number of a descriptor, to which one that finds its name
 * taken writes the pid of who has it, and ends well. */
#define RUNFOLDER_START "CWSGI_CTL_START"

/* Opens candidate `i`, `make`s it if need be; its path is written to `path` in any case but -ENOMEM. It must be ours
 * alone to write to. The descriptor (owned, close-on-exec), or -errno. */
int runfolder_open(unsigned i, bool make, struct buf *path);

/* The address of the socket at `path`, however long that is: through *folder, an open descriptor of its folder (owned;
 * -1: it was not needed), which must stay open until the address was used. 0 or -errno. */
int runfolder_address(const char *path, struct sockaddr_un *address, socklen_t *len, int *folder);

/* What the names begin with for a server at this address, as the setting bind spells it: "0.0.0.0:8080". */
int runfolder_name(const char *bind, struct buf *out); /* 0 or -ENOMEM */

/* ask.h - asks a server over its control socket (server/process/control.h): a line, a text in answer. */
#pragma once

#include <stdbool.h>

struct buf;

struct ask {  /* a connection */
    int fd;   /* owned; -1: none */
    long pid; /* of the server */
};

/* Connects. Whose server it is must be known: ours, root's, or any when `any`. 0 or -errno; -EPERM: somebody else's. */
int ask_open(struct ask *a, const char *path, bool any);
void ask_close(struct ask *a);

/* Sends a line and appends the answer to `out`; it may take `seconds`, 0: as long as it likes. The exit status that the
 * server gives, or -errno; -EPIPE: the connection ended. */
int ask_line(struct ask *a, const char *line, unsigned seconds, struct buf *out);

/* control.h - the control socket of a master: who may talk to it, lines in, texts out.
 * One for each instance, in the user's folder (runfolder.h) under the name of its first address, or where the setting
 * control_socket says. Never fatal: a server that cannot have one goes on without. Never taken over: a lock on
 * NAME.pid says who has it; a second server of that name adds its pid to it, until
 * the name is free.
 *
 * A client sends lines of at most 4095 bytes: "status json\n". Each is answered by "done STATUS LENGTH\n" and LENGTH
 * bytes of text: an exit status, and what is to be shown. commands.h says which lines there are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/buf.h"
#include "server/base/scoreboard.h"

struct handover;
struct master;
struct news;
struct settings;

#define CONTROL_CLIENTS 8 /* at once; others wait in the kernel's queue */

enum waiting { /* of a client whose answer is not there yet */
               WAITS_FOR_NOTHING,
               WAITS_FOR_TRIAL,   /* of a reload */
               WAITS_FOR_WORKERS, /* of the new release */
               WAITS_FOR_STACKS,
               WAITS_FOR_END, /* of the server: the end of the connection is the answer */
};

struct client {
    int fd;               /* owned; -1: free */
    struct buf in, out;   /* owned */
    uint64_t deadline_us; /* for its next line, or to take what we say; 0: it waits for us */
    enum waiting waiting;
    unsigned number;    /* of the trial, or of the round of stacks, that it waits for */
    struct tally tally; /* what `top` has shown last, and when */
    uint64_t tally_us;
};

struct control;

/* Before the server detaches: its name, with a lock, and what the image before us left. If another server has the name,
 * one that must be `alone` takes nothing, *out stays as it was, and that server's pid comes back; else its pid is added
 * to the name. 0 otherwise. Why there is no control socket is added to `note`. */
long control_claim(struct control **out, const struct settings *s, bool alone, struct handover *h, struct buf *note);
void control_detached(const struct control *c); /* the lock shows the server's new pid; NULL is fine from here on */
void control_open(struct control *c, struct buf *note); /* listens; why not is added to `note` */

void control_forget(struct control *c);  /* in a worker: closes all, frees */
void control_destroy(struct control *c); /* removes socket and lock, closes all */
/* The server stops: the name is free for another one, who is connected stays so. */
void control_resign(struct control *c);
int control_hand_over(const struct control *c, struct handover *h); /* lends; 0 or -ENOMEM */

const char *control_path(const struct control *c); /* borrowed; NULL: none */

/* For the master's loop. */
/* Takes over the name of the address, once the server that had it is gone or stops. NULL is fine. */
void control_settle(struct control *c, const struct settings *s);
void control_await(const struct control *c, struct news *news);
void control_tend(struct control *c, struct master *m, uint64_t now);
uint64_t control_deadline(const struct control *c); /* when it wants to be called again, or 0 */

/* For commands.c: the answer to a client. */
void client_done(struct client *k, int status, const void *text, size_t len);
void client_done_text(struct client *k, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* linefd.h - a descriptor that takes whole lines, and makes nobody wait.
 *
 * A file gets what there is by one write(2) to an O_APPEND descriptor. A pipe, a terminal or a socket gets it in pieces
 * of whole lines of which each goes in at once or not at all (PIPE_BUF), so that the lines of several processes never
 * mix there either. What is full is left alone: -EAGAIN, also where the descriptor was given to us as one that blocks.
 * One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct linefd {
    int fd;     /* owned, if `owned`; -1: none */
    bool owned; /* a description of our own: it does not block */
    bool asks;  /* it would block, and others share it: the kernel is asked before each write */
    bool is_file, is_socket;
    size_t pipe_size; /* 0: no pipe */
};

/* Opens a log file for appending and makes its missing directories: the descriptor (owned by the caller) or -errno. It
 * carries a shared lock for as long as it is open, in whatever processes: who holds the lock for itself knows that
 * nobody writes to the file any more. A named pipe needs no reader. */
int linefd_open_file(const char *path);
int linefd_make_parents(const char *path); /* the directories above the last component; 0 or -errno */

void linefd_own(struct linefd *l, int fd);          /* takes over what linefd_open_file gave */
void linefd_borrow(struct linefd *l, int fd);       /* stdout, stderr: stays the caller's */
void linefd_borrow_again(struct linefd *l, int fd); /* under the number that it has: others may be writing to it now */
void linefd_close(struct linefd *l);

/* True when `path` is not the file that it was opened by: moved, removed, replaced. */
bool linefd_is_stale(const struct linefd *l, const char *path);

/* How many bytes were taken: whole lines, unless one that is longer than a pipe takes at once was cut. Fewer than
 * `len`: *error is why, -EAGAIN when trying again later may help. */
size_t linefd_write(struct linefd *l, const char *data, size_t len, int *error);

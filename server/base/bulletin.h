/* bulletin.h - a text that the master changes now and then, and that workers which are running already get to see.
 * A memory file, inherited by every worker, and by the next image of the master through its descriptor. Workers ask
 * whether it has changed, which costs a load from memory, so nobody has to be woken for it. One thread in each
 * process. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct bulletin; /* opaque */

int bulletin_create(struct bulletin **out); /* with no text yet; 0 or -errno */
/* Takes over `fd`, as bulletin_fd gave it, with close-on-exec set. 0 or -errno, and then `fd` is still the caller's;
 * -EINVAL: another build of cwsgi made it. */
int bulletin_adopt(struct bulletin **out, int fd);
void bulletin_destroy(struct bulletin *b); /* NULL is fine */
int bulletin_fd(const struct bulletin *b); /* borrowed; close-on-exec is set */

/* The master only. 0 and the text's number, or -errno, and then there is no text until the next that is put. */
int bulletin_put(struct bulletin *b, const void *data, size_t len, uint64_t *number);

/* `seen`: the number of the text that is known, 0 at first. */
bool bulletin_is_new(const struct bulletin *b, uint64_t seen);

/* The text, behind what is in `out`, and its number. 0; -EAGAIN: it is just being changed, ask again; or -errno. */
int bulletin_get(const struct bulletin *b, struct buf *out, uint64_t *seen);

/* status.h - what a master says of itself and its workers, for people and as JSON. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct master;
struct tally;

/* Each appends to `out`: 0 or -ENOMEM. */

/* Which server this is, for who looks for one: its pid, name, folder, addresses. As text, "KEY VALUE" lines. */
int status_identity(const struct master *m, bool json, struct buf *out);

int status_show(const struct master *m, bool json, struct buf *out);

/* For a terminal that is written anew: what has happened since the last time. *last, *last_us: what the caller keeps
 * between two calls, zero at first. */
int status_top(const struct master *m, struct tally *last, uint64_t *last_us, struct buf *out);

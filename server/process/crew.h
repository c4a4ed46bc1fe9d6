/* crew.h - makes the workers as many as they should be: starts them, with backoff, and lets the surplus go. A part of
 * the master; `fork` of a worker stands here and nowhere else. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct child;
struct master;
struct seat;

void crew_init(struct master *m);
bool crew_balance(struct master *m, struct seat *seat); /* as many workers as there should be. True in a new one */
uint64_t crew_next_spawn_us(const struct master *m);    /* when the next may be started */
size_t crew_fresh(const struct master *m);              /* workers that are to stay */
void crew_retire(struct master *m, struct child *c);    /* tells it to finish */
uint64_t crew_graceful_us(const struct master *m);      /* how long it may take */
void crew_read_slot(struct master *m, struct child *c); /* what it says of itself */

/* A worker ended before it was ready: by itself with `status`, or by a signal (0), which says nothing of the
 * application, so that another try may well succeed. */
void crew_boot_failed(struct master *m, int status);
void crew_crashed(struct master *m, const struct child *c); /* it ended unasked after it was ready */

/* All workers serve, or as many as there can be for now. */
bool crew_complete(const struct master *m);

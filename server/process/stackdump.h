/* stackdump.h - where the Python code of workers stands: asked one after the other, told to the log and to who asked.
 * A worker writes its stacks, from a signal's handler, behind what lies in a memory file that all have inherited, with
 * a NUL at the end, and wakes the master, which reads them there. So lines of two workers do not mix, and they reach
 * whoever wants them. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct buf;
struct stackdump; /* opaque */

/* `fd`: of the image before us, taken over; -1: a new file. NULL when that cannot be had: all that follows does nothing
 * then, and stacks are not shown. */
struct stackdump *stackdump_create(int fd);
void stackdump_destroy(struct stackdump *s);
int stackdump_fd(const struct stackdump *s); /* borrowed; close-on-exec; -1 for NULL. Workers write to it */

void stackdump_ask(struct stackdump *s, pid_t worker); /* soon; once, if it is asked already */
/* Which round of answers has all that was asked for until now; its text once it is complete, good until the next call
 * of stackdump_tend, else NULL. */
unsigned stackdump_listen(const struct stackdump *s);
const struct buf *stackdump_round(const struct stackdump *s, unsigned round);

/* For the master's loop. */
void stackdump_tend(struct stackdump *s, uint64_t now);
uint64_t stackdump_deadline(const struct stackdump *s); /* when it wants to be called again, or 0 */

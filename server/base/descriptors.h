/* descriptors.h - files and sockets of this process: how many it may open, and what is to be closed. */
#pragma once

#include <stddef.h>

size_t descriptors_limit(void); /* ulimit -n; SIZE_MAX: there is none */

/* How many connections there may be, at least 1: as many as are wanted, but some descriptors stay free for the
 * application, and what is open now stays open. */
size_t descriptors_for_connections(size_t wanted);

/* In a child that goes on without them. `first`: above 0. As far as the system can tell which there are. */
void descriptors_close_from(int first);

/* descriptors.h - how many files and sockets this process may open. */
#pragma once

#include <stddef.h>

size_t descriptors_limit(void); /* ulimit -n; SIZE_MAX: there is none */

/* How many connections there may be, at least 1: as many as are wanted, but some descriptors stay free for the
 * application, and what is open now stays open. */
size_t descriptors_for_connections(size_t wanted);

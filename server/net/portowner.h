/* portowner.h - which process listens on a TCP port, as far as /proc tells without privileges. */
#pragma once

#include <stdint.h>

struct buf;

/* Appends "process 123 (cwsgi -w 3 hello:app)" to `out`. 0, or -1 when it cannot be found: another user's, or no /proc.
 */
int portowner_find(uint16_t port, struct buf *out);

/* top.h - a server's status, live in a terminal. */
#pragma once

#include <stdbool.h>

/* Shows it until q, Ctrl-C or the server's end, over reloads; without a terminal, once. `any`: see ask_open. The exit
 * status. */
int top_run(const char *socket, bool any);

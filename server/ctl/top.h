/* top.h - a server's status, live in a terminal. */
#pragma once

struct ask;

/* Shows it until q, Ctrl-C or the server's end; without a terminal, once. The exit status. */
int top_run(struct ask *a);

/* http1out.h - answers of one HTTP/1.1 connection: gathered, framed, sent, given up. For http1.c. */
#pragma once

#include <stdbool.h>

struct exchange;
struct exchange_ops;
struct http1;

extern const struct exchange_ops http1_ops;

void http1_flush(struct exchange *x); /* sends what the response holds; may close the connection */
/* The exchange is over when both the client and the executor are done with it. May close the connection. */
void http1_go_on(struct http1 *h);
void http1_on_give_up(void *p, bool begun); /* see struct protocol */

/* http1over.h - the application takes an HTTP/1.1 connection over, to speak WebSocket (RFC 6455) by itself: it finds
 * the end of a tunnel in x->socket, and what it writes there, beginning with "HTTP/1.1 101", goes to the client instead
 * of an answer by WSGI, of which nothing has been sent by then. For http1.c and http1out.c; h->takeover may be NULL in
 * all of these. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct http1;

void takeover_offer(struct http1 *h);     /* before h->x is submitted. Where it cannot be had, the log says why */
bool takeover_has_begun(struct http1 *h); /* looks at what the application has written by now */

/* Of the client. False: the application has not taken over (yet). May close the connection. */
bool takeover_data(struct http1 *h, const char *data, size_t len);
void takeover_eof(struct http1 *h);
void takeover_drained(struct http1 *h); /* the client may be sent more */

void takeover_note(const struct http1 *h, struct exchange *y); /* y gets what the access log says of it */
void takeover_cut(struct http1 *h);                            /* the application reads an end */
/* The application has ended. True: all that it wrote was handed to the connection, and h->x is ready for the log. */
bool takeover_end(struct http1 *h);

/* connout.h - what a connection has to send, as far as the socket takes it. For conn.c and conns.c: the protocol's side
 * of it, conn_send and conn_wants_more, is in conn.h. */
#pragma once

#include <stddef.h>

struct conn;

size_t conn_queued(const struct conn *c);  /* bytes not yet taken by the socket */
size_t conn_untaken(const struct conn *c); /* bytes that the client has not taken: of `writer`, and in the kernel */
void conn_account(struct conn *c);         /* keeps the worker's sum true: after each change of what waits to be sent */
void conn_drop_cipher(struct conn *c);     /* frees the buffer for ciphertext, or keeps it for the next connection */
int conn_start_writer(struct conn *c);     /* the socket is full: libuv waits for it with the head of the queue */
void conn_take_from_cork(struct conn *c);  /* out of the cork's list, if it is in it; its queue stays */
void conn_send_corked(struct conn *c);     /* the same, and sends the queue as far as it goes */
void conn_flush(struct conn *c);           /* sends what is queued as far as it goes; may close the connection */

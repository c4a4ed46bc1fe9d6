/* tickets.h - the keys of session tickets (RFC 5077 4, RFC 8446 4.6.1), in a page that all workers share.
 * So a client resumes its session at whichever worker it gets, and after a reload at the next generation's, too. The
 * master makes a new key now and then, or reads them from a file that several machines have; the first key encrypts,
 * the others only open tickets that are still about. Written by the master alone, read by workers without a lock. */
#pragma once

#include <openssl/types.h>
#include <stdint.h>

struct buf;
struct tickets;

/* `file`: borrowed; NULL: keys are made here. Lines of 160 hexadecimal digits, the first key first; empty lines and
 * those that begin with # do not count. `fd`: the page of the image before (taken over), or -1. 0, or -1 with one
 * sentence in `error`. */
int tickets_create(struct tickets **out, const char *file, int fd, struct buf *error);
void tickets_destroy(struct tickets *t); /* NULL is fine */
int tickets_fd(const struct tickets *t); /* of the page; borrowed, close-on-exec is set */

/* Master only; NULL is fine. When it wants to be called (0: never), and the call: a new key when it is time, or the
 * file's when it has changed. Both in clock_mono_us. */
uint64_t tickets_deadline(const struct tickets *t);
void tickets_turn(struct tickets *t, uint64_t now);

/* Connections of this SSL_CTX ask the tickets that are attached to them (borrowed) for keys. 0 or -ENOMEM. */
int tickets_plug(SSL_CTX *ssl);
void tickets_attach(struct tickets *t, SSL *ssl);

/* staples.h - OCSP answers that are sent with certificates (RFC 6066 8), in a page that all workers share.
 * Written by the master alone, read by workers without a lock. */
#pragma once

#include <openssl/types.h>
#include <stddef.h>
#include <time.h>

struct staples;

int staples_create(struct staples **out); /* empty. 0 or -errno */
void staples_destroy(struct staples *s);  /* NULL is fine */

/* Master only: from now on, until `fresh_until`, this answer goes with that certificate. When there is no more room,
 * the one that is fresh least long makes some. */
void staples_put(struct staples *s, const X509 *cert, const void *answer, size_t len, time_t fresh_until);

/* Clients of this SSL_CTX that ask for it get the answer to their certificate. `s` is borrowed. 0 or -ENOMEM. */
int staples_plug(struct staples *s, SSL_CTX *ssl);

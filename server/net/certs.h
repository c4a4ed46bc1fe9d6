/* certs.h - the certificate store: which pairs of certificate and key serve which host names.
 * Read from files (certload.h) in the master, which may read private keys, and given to the workers (certpack.h), which
 * may not. What is in a store never changes: a renewal makes another one. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "server/net/certpair.h"

struct certs;

#define CERTS_TYPES 8 /* kinds of keys side by side */

/* The pairs that serve one host name, of each kind of key one: the client takes what it can verify. */
struct certset {
    size_t pair[CERTS_TYPES]; /* in the store */
    size_t n;
};

/* Chooses among `pairs` (taken over in any case, also the array; at least one): for each name and kind of key the first
 * of the list serves. Who asks for no name, or an unknown one, gets the set of `host` (NULL: none), or when no pair
 * covers that, of the first name of `pairs[first]`. Pairs that serve nobody are dropped. 0 or -ENOMEM. */
int certs_create(struct certs **out, struct certpair *pairs, size_t n, const char *host, size_t first);
void certs_destroy(struct certs *c); /* NULL is fine */

size_t certs_count(const struct certs *c);                          /* pairs that serve */
const struct certpair *certs_pair(const struct certs *c, size_t i); /* borrowed */
struct certpair *certs_new_pair(struct certs *c, size_t i);         /* for its chain, while nobody else has the store */
size_t certs_sets(const struct certs *c);                           /* at least one */
const struct certset *certs_set(const struct certs *c, size_t i);   /* set 0 is for whom no other is */
size_t certs_find(const struct certs *c, const char *name);         /* the set for this host name */
bool certs_covers(const struct certs *c, const char *name);         /* one that it belongs to */
const char *certs_host(const struct certs *c);                      /* whose set is the first one; borrowed */
bool certs_is_default(const struct certs *c, size_t pair);          /* it is in set 0 */
bool certs_same(const struct certs *c, const struct certs *d);      /* both serve the same to all */

/* Pair `i` for people: names, until when, which files; without a line's end. 0 or -ENOMEM. */
int certs_describe(const struct certs *c, size_t i, time_t now, struct buf *b);

/* renewal.h - the server's certificates, from start to stop.
 * The master reads them, which may read private keys when the workers may not. */
#pragma once

struct buf;
struct certs;
struct renewal;
struct settings;
struct tls_context;

/* Reads certfile, keyfile and cert_host; warnings go to the log. 0, or -1 with a sentence. `s`: borrowed, outlives it.
 */
int renewal_create(struct renewal **out, const struct settings *s, struct buf *error);
void renewal_destroy(struct renewal *r); /* NULL is fine */

struct tls_context *renewal_tls(struct renewal *r);         /* borrowed; stays the same for ever */
const struct certs *renewal_certs(const struct renewal *r); /* what serves now; borrowed until the next call */

void renewal_announce(const struct renewal *r); /* a line in the log for each certificate; NULL: none */

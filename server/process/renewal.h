/* renewal.h - the server's certificates, from start to stop: read, watched, renewed while the server serves.
 * The master reads them, since it may read private keys when the workers may not, looks when files change, and warns
 * before they expire. What is new it puts into a bulletin (bulletin.h), where workers find it when the next client
 * comes; connections that are there go on with what they have. On any trouble what is in memory goes on serving. */
#pragma once

#include <stdint.h>

struct buf;
struct certs;
struct news;
struct renewal;
struct settings;
struct tls_context;

/* Reads certfile, keyfile and cert_host; warnings go to the log. `bulletin_fd`: as renewal_fd gave it in the image
 * before us, taken over and set to -1, or -1; what that one served serves on when the files have gone bad meanwhile.
 * 0, or -1 with a sentence in `error`. `s`: borrowed, outlives it. */
int renewal_create(struct renewal **out, const struct settings *s, int *bulletin_fd, struct buf *error);
void renewal_destroy(struct renewal *r); /* NULL is fine, here and where it says so */

struct tls_context *renewal_tls(struct renewal *r);         /* borrowed; stays the same for ever */
const struct certs *renewal_certs(const struct renewal *r); /* what serves now; borrowed until the next call */
const char *
renewal_trouble(const struct renewal *r); /* why the files cannot be used just now; NULL: they can; r may be NULL */
int renewal_fd(const struct renewal *r);  /* the bulletin, for the next image; borrowed; -1: r is NULL */

void renewal_announce(const struct renewal *r); /* a line in the log for each certificate; NULL is fine */

/* For the master's loop; NULL is fine. */
void renewal_await(const struct renewal *r, struct news *news);
void renewal_tend(struct renewal *r, uint64_t now_us);
uint64_t renewal_deadline(const struct renewal *r); /* when it wants to be called again, or 0 */

/* For a worker: once it is one; and before each connection, for which it returns the context (borrowed). */
void renewal_forget(struct renewal *r);
struct tls_context *renewal_take(struct renewal *r);

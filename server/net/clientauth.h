/* clientauth.h - which client certificates are asked for, and believed: --cert-reqs, --ca-certs, --ssl-crl.
 * Read once, before workers exist; what it makes is shared by every SSL_CTX of the server. */
#pragma once

struct buf;
struct clientauth;
struct settings;
struct ssl_ctx_st;

/* NULL in *out when no client certificates are asked for. 0, or -1 with one sentence in `error` that names the file. */
int clientauth_create(struct clientauth **out, const struct settings *s, struct buf *error);
void clientauth_destroy(struct clientauth *a); /* NULL is fine */

/* Connections of this SSL_CTX ask for certificates (`a` NULL: they do not). Sessions are resumed only where the same
 * would be asked and believed. 0 or -ENOMEM. */
int clientauth_plug(const struct clientauth *a, struct ssl_ctx_st *ssl);

/* tls.h - OpenSSL as a step: bytes in, bytes out, and never a socket, but where the kernel encrypts (kTLS).
 * A tls_context holds the settings and, for each host name, certificates; the master makes it before anything is bound,
 * and workers inherit it by fork, so that session tickets of one worker are good in all. A tls is one connection's
 * state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct buf;
struct certs;
struct clientcert;
struct settings;
struct staples;
struct tls_context;
struct tickets;
struct tls;

/* `s` and `certs` are borrowed and outlive the context, or until tls_context_use. On failure -1, and `error` has one
 * clear sentence without a full stop. */
int tls_context_create(struct tls_context **out, const struct settings *s, const struct certs *certs,
                       struct buf *error);

/* The library that does it: "OpenSSL 3.0.19 27 Jan 2026". */
const char *tls_library(void);

/* From now on these certificates are served, also to clients that have connected and not said yet which host they want;
 * established connections, and session tickets, go on. 0 or -1 with a sentence, and then nothing has changed. */
int tls_context_use(struct tls_context *ctx, const struct certs *certs, struct buf *error);
/* Session tickets are made and opened with these keys (borrowed) instead of OpenSSL's own. 0 or -ENOMEM. */
int tls_context_tickets(struct tls_context *ctx, struct tickets *tickets);
/* The OCSP answers that are sent along: borrowed, for the master to fill. */
struct staples *tls_context_staples(struct tls_context *ctx);
void tls_context_destroy(struct tls_context *ctx); /* NULL is fine */

/* One connection's state. NULL when memory is short. `ctx` may be destroyed earlier, on the same thread. `fd`: the TCP
 * socket, or -1; borrowed, so that the kernel can be given the keys for what is sent, where it takes them. Until that
 * is known, what OpenSSL has to say may go to the socket at once instead of to `out`. */
struct tls *tls_create(struct tls_context *ctx, int fd);
void tls_destroy(struct tls *t); /* NULL is fine */

/* Hands ciphertext in. It is borrowed until tls_read has answered -EAGAIN (or failed), or tls_has_more false: then it
 * has been taken wholly. */
void tls_input(struct tls *t, const char *data, size_t len);

/* Plaintext out: how many bytes, 0 when the client has closed its side (close_notify), -EAGAIN when more input is
 * needed, -EPROTO when the connection is broken (tls_error says why), -ENOMEM, -ENOBUFS when OpenSSL has something to
 * say and the socket is full. Also drives the handshake. Whatever is to be sent because of it (handshake messages,
 * alerts) is appended to `out`. */
ssize_t tls_read(struct tls *t, char *dst, size_t max, struct buf *out);
bool tls_has_more(const struct tls *t); /* after plaintext has come: false: tls_read would answer -EAGAIN */

/* Encrypts all of `data` into `out`; only after the handshake. 0, -EPROTO or -ENOMEM. */
int tls_write(struct tls *t, const char *data, size_t len, struct buf *out);

/* Appends close_notify (RFC 8446 6.1). 0, or -EAGAIN: the kernel encrypts, and its socket is full; call it again. */
int tls_close(struct tls *t, struct buf *out);

bool tls_is_ready(const struct tls *t); /* the handshake is done */
/* What it has to say from now on (TLS 1.3: tickets, new keys) does not matter before the next answer. */
bool tls_has_time(const struct tls *t);
/* The kernel encrypts: from the handshake's end on, plaintext goes to the socket, and tls_write is not called. */
bool tls_in_kernel(const struct tls *t);
/* What was agreed on, once it is ready; static texts. */
const char *tls_version(const struct tls *t);
const char *tls_cipher(const struct tls *t);
/* What the client has shown and was believed; for free(). NULL: none, or memory is short. */
struct clientcert *tls_client(const struct tls *t);
const char *tls_error(const struct tls *t); /* of the last -EPROTO; static text or owned by t */

/* ocsp.h - what a certificate's authority says of it (RFC 6960): asking, and judging the answer. */
#pragma once

#include <openssl/types.h>
#include <stddef.h>
#include <time.h>

struct buf;

#define OCSP_MAX 6144 /* a longer answer is not taken */

/* The http responder that the certificate names, for free(); NULL: none. */
char *ocsp_responder(const X509 *cert);

/* Asks it, for `seconds` at the most; the answer, not judged yet, goes into `out`. Blocks. 0 or -errno. */
int ocsp_ask(const char *responder, X509 *cert, const X509 *issuer, int seconds, struct buf *out);

/* 0 when the answer is signed rightly, about this certificate, good, and of now: then *fresh_until and *renew_at say
 * for how long, and when a new one is wanted. Else -1, and *why is static text. */
int ocsp_judge(const void *answer, size_t len, X509 *cert, X509 *issuer, time_t now, time_t *fresh_until,
               time_t *renew_at, const char **why);

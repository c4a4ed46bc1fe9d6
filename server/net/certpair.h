/* certpair.h - a certificate with its private key and its chain: which names, from when, until when. */
#pragma once

#include <openssl/types.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct buf;

struct certpair {
    X509 *cert;             /* owned, as all that follows */
    EVP_PKEY *key;          /* belongs to the certificate */
    STACK_OF(X509) * chain; /* the issuers, from the certificate's own on; NULL: none */
    char *cert_path, *key_path;
    char **names; /* lower case; a certificate that names nobody has one, "" */
    size_t n_names;
    time_t not_before, not_after;
    struct timespec modified; /* of the certificate's file */
    int type;                 /* of the key: EVP_PKEY_RSA, EVP_PKEY_EC, ...; of each a host may have one */
    bool kept;                /* it is in memory only: its files are gone, or not what they were */
    bool gone;                /* kept, and the certificate's file is not there any more: somebody may have meant it */
};

/* Takes no more than references to certificate and key. 0 or -ENOMEM, and then there is nothing to finish. */
int certpair_init(struct certpair *p, X509 *cert, EVP_PKEY *key, const char *cert_path, const char *key_path);
int certpair_copy(struct certpair *to, const struct certpair *from); /* the same */
void certpair_finish(struct certpair *p);

bool certpair_is_valid(const struct certpair *p, time_t now);
bool certpair_same(const struct certpair *p, const struct certpair *q); /* certificate and chain are the same */

/* Puts the issuers behind the certificate, as far as they are among `known`. A root goes with it only when it is one of
 * `beside`, the certificates that stand in the certificate's own file, which are preferred, too. 0 or -ENOMEM. */
int certpair_complete(struct certpair *p, X509 *const *known, size_t n_known, X509 *const *beside, size_t n_beside,
                      time_t now);
X509 *certpair_top(const struct certpair *p); /* the end of the chain; borrowed */

/* For people: "example.org, www.example.org (ECDSA P-256) until 2027-01-31 12:00 UTC (29 days)". 0 or -ENOMEM. */
int certpair_describe(const struct certpair *p, time_t now, struct buf *out);

time_t cert_time(const ASN1_TIME *t);
long cert_days(time_t until, time_t now); /* that are left, the one that has begun included; 0 or less: it is over */

/* Text from a file's or a certificate's hands, fit for a line of the log. 0 or -ENOMEM. */
int cert_print(struct buf *out, const char *text);
int cert_say(struct buf *out, const char *before, const char *text,
             const char *after); /* the same, between two others */

/* clientcert.h - the certificate that a client has shown, as text: what applications want to know of it.
 * Made once a handshake, in one piece of memory without pointers, so that it can be copied. */
#pragma once

#include <openssl/types.h>
#include <stddef.h>
#include <stdint.h>

enum clientcert_text {
    CLIENTCERT_SUBJECT,    /* RFC 2253: "CN=Ann,O=Example"; bytes of UTF-8 */
    CLIENTCERT_ISSUER,     /* the same */
    CLIENTCERT_SERIAL,     /* hexadecimal */
    CLIENTCERT_NOT_BEFORE, /* "Nov 25 21:00:00 2026 GMT" */
    CLIENTCERT_NOT_AFTER,
    CLIENTCERT_PEM,
    CLIENTCERT_TEXTS
};

struct clientcert {
    size_t size; /* of all of it, the texts with it */
    uint32_t at[CLIENTCERT_TEXTS];
    char texts[]; /* each ends with NUL */
};

struct clientcert *clientcert_create(const X509 *cert); /* for free(); NULL when memory is short */

static inline const char *clientcert_text(const struct clientcert *c, enum clientcert_text which)
{
    return c->texts + c->at[which];
}

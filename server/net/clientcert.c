/* clientcert.c - the certificate that a client has shown, as text. */
#include "server/net/clientcert.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* As Apache and nginx show names, but characters beyond ASCII stay what they are. */
#define NAME_FLAGS (XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB)

static int print(BIO *out, const X509 *cert, enum clientcert_text which)
{
    switch (which) {
    case CLIENTCERT_SUBJECT:
        return X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, NAME_FLAGS) >= 0;
    case CLIENTCERT_ISSUER:
        return X509_NAME_print_ex(out, X509_get_issuer_name(cert), 0, NAME_FLAGS) >= 0;
    case CLIENTCERT_SERIAL:
        return i2a_ASN1_INTEGER(out, X509_get0_serialNumber(cert)) > 0;
    case CLIENTCERT_NOT_BEFORE:
        return ASN1_TIME_print(out, X509_get0_notBefore(cert));
    case CLIENTCERT_NOT_AFTER:
        return ASN1_TIME_print(out, X509_get0_notAfter(cert));
    default:
        return PEM_write_bio_X509(out, cert);
    }
}

struct clientcert *clientcert_create(const X509 *cert)
{
    struct clientcert head = {0}, *c = NULL;
    BIO *out = BIO_new(BIO_s_mem());
    char *texts;
    bool ok = out;
    for (int i = 0; ok && i < CLIENTCERT_TEXTS; i++) {
        head.at[i] = (uint32_t)BIO_pending(out);
        ok = print(out, cert, (enum clientcert_text)i) > 0 && BIO_write(out, "", 1) == 1;
    }
    size_t len = ok ? (size_t)BIO_get_mem_data(out, &texts) : 0;
    if (ok && (c = malloc(sizeof(*c) + len))) {
        *c = head;
        c->size = sizeof(*c) + len;
        memcpy(c->texts, texts, len);
    }
    BIO_free(out);
    return c;
}

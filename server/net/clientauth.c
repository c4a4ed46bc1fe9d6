/* clientauth.c - which client certificates are asked for, and believed. */
#include "server/net/clientauth.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/config/settings.h"

#define FILE_MAX (16 * 1024 * 1024)

enum { NEVER, IF_THERE_IS_ONE, ALWAYS }; /* cert_reqs, as Python's ssl module numbers it */

struct clientauth {
    X509_STORE *store;           /* owned */
    STACK_OF(X509_NAME) * names; /* owned: what clients are told to choose by */
    int mode;
    unsigned char
        id[SSL_MAX_SID_CTX_LENGTH]; /* of all that decides: RFC 8446 4.6.1 leaves to us when a session is good */
};

/* The whole file; its digest goes into `hash`. 0, or -1 with a sentence. */
static int read_file(const char *setting, const char *path, struct buf *text, EVP_MD_CTX *hash, struct buf *error)
{
    char piece[8192];
    size_t n;
    int r = 0;
    FILE *f = fopen(path, "re");
    while (f && r == 0 && text->len <= FILE_MAX && (n = fread(piece, 1, sizeof(piece), f)) > 0) {
        r = buf_append(text, piece, n);
    }
    if (!f || r < 0 || ferror(f)) {
        buf_printf(error, "%s '%s' cannot be read: %s", setting, path, strerror(r < 0 ? -r : errno));
        r = -1;
    } else if (text->len > FILE_MAX) { /* cut short it would lose authorities or revocations without a word */
        buf_printf(error, "%s '%s' is larger than %d MiB", setting, path, FILE_MAX / (1024 * 1024));
        r = -1;
    } else if (EVP_DigestUpdate(hash, text->data, text->len) != 1) {
        buf_puts(error, "out of memory");
        r = -1;
    }
    if (f) {
        fclose(f);
    }
    return r;
}

static int add_ca(struct clientauth *a, X509 *cert)
{
    X509_NAME *name = X509_NAME_dup(X509_get_subject_name(cert));
    if (!name || !sk_X509_NAME_push(a->names, name)) {
        X509_NAME_free(name);
        return -1;
    }
    return X509_STORE_add_cert(a->store, cert) == 1 ? 0 : -1;
}

/* What kind of thing the PEM blocks of a file are for. The number that were taken, or -1. */
static int take_blocks(struct clientauth *a, const struct buf *text, bool crl)
{
    int taken = 0;
    BIO *bio = BIO_new_mem_buf(text->data, (int)text->len);
    STACK_OF(X509_INFO) *blocks = bio ? PEM_X509_INFO_read_bio(bio, NULL, NULL, NULL) : NULL;
    for (int i = 0; blocks && taken >= 0 && i < sk_X509_INFO_num(blocks); i++) {
        const X509_INFO *b = sk_X509_INFO_value(blocks, i);
        int r = 0;
        if (crl && b->crl) {
            r = X509_STORE_add_crl(a->store, b->crl) == 1 ? 1 : -1;
        } else if (!crl && b->x509) {
            r = add_ca(a, b->x509) == 0 ? 1 : -1;
        }
        taken = r < 0 ? -1 : taken + r;
    }
    sk_X509_INFO_pop_free(blocks, X509_INFO_free);
    BIO_free(bio);
    return blocks ? taken : -1;
}

static int load(struct clientauth *a, const char *setting, const char *path, bool crl, EVP_MD_CTX *hash,
                struct buf *error)
{
    struct buf text = {0};
    int r = read_file(setting, path, &text, hash, error);
    if (r == 0) {
        ERR_clear_error();
        int taken = text.len > 0 ? take_blocks(a, &text, crl) : 0;
        if (taken <= 0) {
            buf_printf(error, "%s '%s' %s in PEM format", setting, path,
                       taken == 0 ? (crl ? "holds no revocation list" : "holds no certificate") : "is not");
            r = -1;
        }
        ERR_clear_error();
    }
    buf_finish(&text);
    return r;
}

static int fill(struct clientauth *a, const struct settings *s, EVP_MD_CTX *hash, struct buf *error)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    a->store = X509_STORE_new();
    a->names = sk_X509_NAME_new_null();
    if (!a->store || !a->names || !hash || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(hash, &a->mode, sizeof(a->mode)) != 1) {
        buf_puts(error, "out of memory");
        return -1;
    }
    if (load(a, "ca_certs", s->ca_certs, false, hash, error) < 0 ||
        (s->ssl_crl && load(a, "ssl_crl", s->ssl_crl, true, hash, error) < 0)) {
        return -1;
    }
    if (s->ssl_crl && X509_STORE_set_flags(a->store, X509_V_FLAG_CRL_CHECK) != 1) {
        buf_puts(error, "out of memory");
        return -1;
    }
    if (EVP_DigestFinal_ex(hash, digest, NULL) != 1) {
        buf_puts(error, "out of memory");
        return -1;
    }
    memcpy(a->id, digest, sizeof(a->id));
    return 0;
}

int clientauth_create(struct clientauth **out, const struct settings *s, struct buf *error)
{
    *out = NULL;
    if (s->cert_reqs == NEVER) {
        return 0;
    }
    struct clientauth *a = calloc(1, sizeof(*a));
    if (!a) {
        buf_puts(error, "out of memory");
        return -1;
    }
    a->mode = SSL_VERIFY_PEER | (s->cert_reqs == ALWAYS ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    int r = fill(a, s, hash, error);
    EVP_MD_CTX_free(hash);
    if (r < 0) {
        clientauth_destroy(a);
        return r;
    }
    *out = a;
    return 0;
}

void clientauth_destroy(struct clientauth *a)
{
    if (a) {
        X509_STORE_free(a->store);
        sk_X509_NAME_pop_free(a->names, X509_NAME_free);
        free(a);
    }
}

int clientauth_plug(const struct clientauth *a, SSL_CTX *ssl)
{
    static const unsigned char NOBODY[] = "cwsgi";
    if (!a) {
        return SSL_CTX_set_session_id_context(ssl, NOBODY, sizeof(NOBODY) - 1) == 1 ? 0 : -ENOMEM;
    }
    STACK_OF(X509_NAME) *names = SSL_dup_CA_list(a->names);
    if (!names || SSL_CTX_set_session_id_context(ssl, a->id, sizeof(a->id)) != 1 ||
        SSL_CTX_set1_verify_cert_store(ssl, a->store) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return -ENOMEM;
    }
    SSL_CTX_set_client_CA_list(ssl, names); /* takes it over */
    SSL_CTX_set_verify(ssl, a->mode, NULL);
    return 0;
}

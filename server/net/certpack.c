/* certpack.c - the certificate store as bytes.
 * A length on a line of its own, then so many bytes: the host; for each pair the two paths, the key, the certificate,
 * and each of the chain; after a pair's last an empty one. */
#include "server/net/certpack.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/str.h"
#include "server/net/certs.h"

#define MAGIC "cwsgi-certs 1\n"

static int put(struct buf *out, const void *data, size_t len)
{
    int r = buf_printf(out, "%zu\n", len);
    return r == 0 ? buf_append(out, data, len) : r;
}

static int put_cert(struct buf *out, X509 *cert)
{
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);
    int r = len < 0 ? -ENOMEM : put(out, der, (size_t)len);
    OPENSSL_free(der);
    return r;
}

static int put_pair(struct buf *out, const struct certpair *p)
{
    unsigned char *der = NULL;
    int len = i2d_PrivateKey(p->key, &der);
    int r = len < 0 ? -ENOMEM : put(out, p->cert_path, strlen(p->cert_path));
    r = r == 0 ? put(out, p->key_path, strlen(p->key_path)) : r;
    r = r == 0 ? put(out, der, (size_t)len) : r;
    if (len > 0) {
        OPENSSL_clear_free(der, (size_t)len);
    }
    r = r == 0 ? put_cert(out, p->cert) : r;
    for (int i = 0; r == 0 && p->chain && i < sk_X509_num(p->chain); i++) {
        r = put_cert(out, sk_X509_value(p->chain, i));
    }
    return r == 0 ? put(out, "", 0) : r;
}

int certpack_put(const struct certs *c, struct buf *out)
{
    int r = buf_puts(out, MAGIC);
    r = r == 0 ? put(out, certs_host(c), strlen(certs_host(c))) : r;
    for (size_t i = 0; r == 0 && i < certs_count(c); i++) {
        r = put_pair(out, certs_pair(c, i));
    }
    return r;
}

struct cursor {
    const char *at;
    size_t left;
};

/* The next piece, or -EINVAL. */
static int take(struct cursor *c, const char **data, size_t *len)
{
    size_t n = 0, i = 0;
    for (; i < c->left && i < 9 && c->at[i] >= '0' && c->at[i] <= '9'; i++) {
        n = n * 10 + (size_t)(c->at[i] - '0');
    }
    if (i == 0 || i == c->left || c->at[i] != '\n' || n > c->left - i - 1) {
        return -EINVAL;
    }
    *data = c->at + i + 1;
    *len = n;
    c->at += i + 1 + n;
    c->left -= i + 1 + n;
    return 0;
}

static X509 *to_cert(const char *data, size_t len)
{
    const unsigned char *der = (const unsigned char *)data;
    return d2i_X509(NULL, &der, (long)len);
}

/* The certificates behind a key, up to the empty piece. */
static int take_chain(struct cursor *c, struct certpair *p)
{
    for (;;) {
        const char *data;
        size_t len;
        int r = take(c, &data, &len);
        if (r < 0 || len == 0) {
            return r;
        }
        X509 *cert = to_cert(data, len);
        if (!cert) {
            return -EINVAL;
        }
        if (!p->chain) {
            p->chain = sk_X509_new_null();
        }
        if (!p->chain || !X509_add_cert(p->chain, cert, X509_ADD_FLAG_DEFAULT)) {
            X509_free(cert);
            return -ENOMEM;
        }
    }
}

static int take_pair(struct cursor *c, struct certpair *p)
{
    struct str part[4];
    for (size_t i = 0; i < 4; i++) {
        if (take(c, &part[i].p, &part[i].len) < 0) {
            return -EINVAL;
        }
    }
    const unsigned char *der = (const unsigned char *)part[2].p;
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &der, (long)part[2].len);
    X509 *cert = to_cert(part[3].p, part[3].len);
    char *cert_path = strndup(part[0].p, part[0].len), *key_path = strndup(part[1].p, part[1].len);
    int r = cert_path && key_path ? -EINVAL : -ENOMEM;
    if (r == -EINVAL && key && cert && X509_check_private_key(cert, key) == 1) {
        r = certpair_init(p, cert, key, cert_path, key_path);
    }
    free(cert_path);
    free(key_path);
    EVP_PKEY_free(key);
    X509_free(cert);
    if (r == 0) {
        r = take_chain(c, p);
        if (r < 0) {
            certpair_finish(p);
        }
    }
    return r;
}

int certpack_take(struct certs **out, const void *data, size_t len)
{
    struct cursor c = {.at = data, .left = len};
    struct certpair *pairs = NULL;
    const char *name;
    size_t n = 0, name_len;
    char host[256];
    if (len < sizeof(MAGIC) - 1 || memcmp(data, MAGIC, sizeof(MAGIC) - 1) != 0) {
        return -EINVAL;
    }
    c.at += sizeof(MAGIC) - 1;
    c.left -= sizeof(MAGIC) - 1;
    if (take(&c, &name, &name_len) < 0 || name_len >= sizeof(host)) {
        return -EINVAL;
    }
    memcpy(host, name, name_len);
    host[name_len] = '\0';
    int r = 0;
    while (r == 0 && c.left > 0) {
        struct certpair *more = reallocarray(pairs, n + 1, sizeof(*more));
        r = more ? 0 : -ENOMEM;
        if (more) {
            pairs = more;
            r = take_pair(&c, &pairs[n]);
        }
        n += r == 0;
    }
    ERR_clear_error();
    r = r == 0 && n == 0 ? -EINVAL : r;
    if (r == 0) {
        return certs_create(out, pairs, n, host, 0);
    }
    for (size_t i = 0; i < n; i++) {
        certpair_finish(&pairs[i]);
    }
    free(pairs);
    return r;
}

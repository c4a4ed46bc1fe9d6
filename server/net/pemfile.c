/* pemfile.c - what a file in PEM format holds. */
#include "server/net/pemfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/str.h"

#define OBJECTS_MAX 1000 /* in a file */

static const char *last_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return reason ? reason : "it is damaged";
}

static int add_certificate(struct pemfile *f, const unsigned char *der, long len)
{
    X509 *cert = d2i_X509(NULL, &der, len);
    if (!cert) {
        f->cert_fault = last_reason();
        return 0;
    }
    X509 **more = reallocarray(f->certs, f->n_certs + 1, sizeof(*more));
    if (!more) {
        X509_free(cert);
        return -ENOMEM;
    }
    f->certs = more;
    f->certs[f->n_certs++] = cert;
    return 0;
}

static int add_key(struct pemfile *f, const char *header, const unsigned char *der, long len)
{
    if (strstr(header, "ENCRYPTED")) { /* the older way; its content is no DER */
        f->locked = true;
        return 0;
    }
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &der, len);
    if (!key) {
        f->key_fault = last_reason();
        return 0;
    }
    EVP_PKEY **more = reallocarray(f->keys, f->n_keys + 1, sizeof(*more));
    if (!more) {
        EVP_PKEY_free(key);
        return -ENOMEM;
    }
    f->keys = more;
    f->keys[f->n_keys++] = key;
    return 0;
}

static int add(struct pemfile *f, const char *name, const char *header, const unsigned char *der, long len)
{
    if (strcmp(name, PEM_STRING_PKCS8) == 0) {
        f->locked = true;
        return 0;
    }
    if (str_ends(str_of(name), STR("PRIVATE KEY"))) {
        return add_key(f, header, der, len);
    }
    bool cert = !strcmp(name, PEM_STRING_X509) || !strcmp(name, PEM_STRING_X509_OLD) ||
                !strcmp(name, PEM_STRING_X509_TRUSTED); /* what a trusted one has behind the certificate is left */
    return cert ? add_certificate(f, der, len) : 0;
}

/* A block began and did not end well: whose it was, its first line tells. */
static void note_fault(struct pemfile *f, const char *data, size_t begin, size_t end)
{
    const char *reason = last_reason();
    const char *key = memmem(data + begin, end - begin, "PRIVATE KEY-----", 16);
    const char *cert = memmem(data + begin, end - begin, "CERTIFICATE-----", 16);
    if (key) {
        f->key_fault = reason;
    }
    if (cert) {
        f->cert_fault = reason;
    }
}

int pemfile_parse(struct pemfile *f, const void *data, size_t len)
{
    if (len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) { /* an editor's mark of UTF-8, before the first block */
        data = (const char *)data + 3;
        len -= 3;
    }
    BIO *bio = len <= INT_MAX ? BIO_new_mem_buf(data, (int)len) : NULL;
    int r = bio ? 0 : -ENOMEM;
    bool more = true;
    for (int i = 0; r == 0 && more && i < OBJECTS_MAX; i++) {
        char *name = NULL, *header = NULL;
        unsigned char *der = NULL;
        long der_len = 0;
        size_t before = len - BIO_pending(bio);
        if (PEM_read_bio(bio, &name, &header, &der, &der_len) == 1) {
            r = add(f, name, header, der, der_len);
            OPENSSL_clear_free(der, (size_t)der_len);
            OPENSSL_free(name);
            OPENSSL_free(header);
        } else {
            size_t now = len - BIO_pending(bio);
            more = now > before && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE;
            if (more) {
                note_fault(f, data, before, now);
            }
        }
    }
    ERR_clear_error(); /* nothing is left for whoever calls OpenSSL next */
    BIO_free(bio);
    const unsigned char *bytes = data;
    f->der = len > 2 && bytes[0] == 0x30 && (bytes[1] & 0x80) && !f->n_certs && !f->n_keys;
    return r;
}

/* All of it, or -errno; -EFBIG when it grows meanwhile. */
static int read_all(int fd, struct buf *b)
{
    for (;;) {
        if (b->len > PEMFILE_MAX) {
            return -EFBIG;
        }
        int r = buf_reserve(b, 16384);
        if (r < 0) {
            return r;
        }
        ssize_t n = read(fd, b->data + b->len, 16384);
        if (n == 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        b->len += n > 0 ? (size_t)n : 0;
    }
}

int pemfile_read(struct pemfile *f, const char *path)
{
    struct stat st;
    struct buf text = {0};
    int r = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a FIFO must not hold us up */
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = -errno;
    } else if (!S_ISREG(st.st_mode)) {
        r = -ENOTSUP;
    } else if (st.st_size > PEMFILE_MAX) {
        r = -EFBIG;
    } else {
        r = read_all(fd, &text);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (r == 0) {
        r = pemfile_parse(f, text.data, text.len);
    }
    if (text.data) {
        OPENSSL_cleanse(text.data, text.len);
    }
    buf_finish(&text);
    return r;
}

void pemfile_finish(struct pemfile *f)
{
    for (size_t i = 0; i < f->n_certs; i++) {
        X509_free(f->certs[i]);
    }
    for (size_t i = 0; i < f->n_keys; i++) {
        EVP_PKEY_free(f->keys[i]);
    }
    free(f->certs);
    free(f->keys);
    *f = (struct pemfile){0};
}

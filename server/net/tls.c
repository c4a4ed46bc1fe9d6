/* tls.c - OpenSSL as a step: bytes in, bytes out, never a socket. */
#include "server/net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/config/settings.h"

/* Mozilla's intermediate profile, for TLS 1.2; those of 1.3 are OpenSSL's own default. */
#define DEFAULT_CIPHERS                                                                                                \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                         \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define GROUPS "X25519:P-256:P-384"

struct tls_context {
    SSL_CTX *ssl; /* owned; each connection holds a reference of its own */
};

struct tls {
    SSL *ssl;       /* owned, with its BIO */
    const char *in; /* borrowed: what tls_input handed over and was not taken yet */
    size_t in_len;
    struct buf *out; /* borrowed during a call */
    bool no_memory;  /* `out` could not grow in this call */
    char error[160];
};

/* The BIO between OpenSSL and our buffers */

static int on_bio_read(BIO *bio, char *dst, size_t max, size_t *done)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (t->in_len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *done = max < t->in_len ? max : t->in_len;
    memcpy(dst, t->in, *done);
    t->in += *done;
    t->in_len -= *done;
    return 1;
}

static int on_bio_write(BIO *bio, const char *data, size_t len, size_t *done)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!t->out || buf_append(t->out, data, len) < 0) {
        t->no_memory = true;
        return 0;
    }
    *done = len;
    return 1;
}

static long on_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

/* Reads from tls->in, writes to tls->out. Made once and kept: connections may outlive the context that made them. NULL
 * when memory is short. */
static const BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method;
    if (!method) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cwsgi");
        if (method && (!BIO_meth_set_read_ex(method, on_bio_read) || !BIO_meth_set_write_ex(method, on_bio_write) ||
                       !BIO_meth_set_ctrl(method, on_bio_ctrl))) {
            BIO_meth_free(method);
            method = NULL;
        }
    }
    return method;
}

/* Context */

/* The newest reason on OpenSSL's error queue, in words; empties the queue. */
static const char *last_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return reason ? reason : "unknown reason";
}

/* Tells apart what stat and open know: 0, or -1 with a sentence. */
static int check_file(const char *setting, const char *path, struct buf *error)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0) {
        buf_printf(error, "%s '%s' cannot be read: %s", setting, path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    close(fd);
    if (!S_ISREG(st.st_mode)) {
        buf_printf(error, "%s '%s' is not a file", setting, path);
        return -1;
    }
    return 0;
}

static int on_passphrase(char *buf, int size, int writing, void *asked)
{
    (void)buf, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1; /* nobody is there to type it */
}

/* True when the file has a PEM block whose name ends with `what` in it: "PRIVATE KEY", "CERTIFICATE". */
static bool has_pem(const char *path, const char *what)
{
    char line[256], wanted[64];
    bool found = false;
    FILE *f = fopen(path, "re");
    snprintf(wanted, sizeof(wanted), "%s-----", what);
    while (f && !found && fgets(line, sizeof(line), f)) {
        found = strncmp(line, "-----BEGIN ", 11) == 0 && strstr(line, wanted);
    }
    if (f) {
        fclose(f);
    }
    return found;
}

static EVP_PKEY *load_key(const char *path, struct buf *error)
{
    bool asked = false;
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *key = file ? PEM_read_bio_PrivateKey(file, NULL, on_passphrase, &asked) : NULL;
    BIO_free(file);
    if (key) {
        return key;
    }
    if (asked) {
        buf_printf(error, "the private key in '%s' is encrypted with a passphrase: store it without one", path);
    } else if (!has_pem(path, "PRIVATE KEY")) {
        buf_printf(error, "'%s' holds no private key in PEM format", path);
    } else {
        buf_printf(error, "the private key in '%s' cannot be used: %s", path, last_reason());
    }
    ERR_clear_error();
    return NULL;
}

static int load_certificate(SSL_CTX *ctx, const struct settings *s, struct buf *error)
{
    const char *cert_path = s->certfile, *key_path = s->keyfile ? s->keyfile : s->certfile;

    if (check_file("certfile", cert_path, error) < 0 || check_file("keyfile", key_path, error) < 0) {
        return -1;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, cert_path) != 1) {
        if (!has_pem(cert_path, "CERTIFICATE")) {
            buf_printf(error, "certfile '%s' holds no certificate in PEM format", cert_path);
        } else {
            buf_printf(error, "the certificate in certfile '%s' cannot be used: %s", cert_path, last_reason());
        }
        ERR_clear_error();
        return -1;
    }
    EVP_PKEY *key = load_key(key_path, error);
    if (!key) {
        return -1;
    }
    X509 *cert = SSL_CTX_get0_certificate(ctx);
    int matches = X509_check_private_key(cert, key);
    int used = matches == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    if (!used) {
        if (matches == 1) {
            buf_printf(error, "the private key in '%s' cannot be used: %s", key_path, last_reason());
        } else {
            buf_printf(error, "the private key in '%s' does not belong to the certificate in '%s'", key_path,
                       cert_path);
            ERR_clear_error();
        }
        return -1;
    }
    /* A stale certificate is better than no site: served, with a warning. */
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0) {
        log_warning("The certificate in %s has expired: clients will refuse it", cert_path);
    } else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
        log_warning("The certificate in %s is not valid yet: clients will refuse it", cert_path);
    }
    return 0;
}

/* RFC 7301 3.2: of what the client offers we speak http/1.1; without it, we go on without ALPN. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned int in_len, void *arg)
{
    (void)ssl, (void)arg;
    static const unsigned char OURS[] = "\x08http/1.1";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, OURS, sizeof(OURS) - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

int tls_context_create(struct tls_context **out, const struct settings *s, struct buf *error)
{
    struct tls_context *ctx = calloc(1, sizeof(*ctx));
    if (!ctx) {
        buf_puts(error, "out of memory");
        return -1;
    }
    ctx->ssl = SSL_CTX_new(TLS_server_method());
    if (!ctx->ssl || !bio_method() || !SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_2_VERSION) ||
        !SSL_CTX_set1_groups_list(ctx->ssl, GROUPS) ||
        !SSL_CTX_set_session_id_context(ctx->ssl, (const unsigned char *)"cwsgi", 5)) {
        buf_printf(error, "OpenSSL cannot be set up: %s", last_reason());
        goto fail;
    }
    SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(ctx->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Tickets instead of a cache: their keys are made here, before fork, so they are good in every worker. */
    SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx->ssl, on_alpn, NULL);
    if (!SSL_CTX_set_cipher_list(ctx->ssl, s->ciphers ? s->ciphers : DEFAULT_CIPHERS)) {
        buf_printf(error, "ciphers '%s': %s", s->ciphers, last_reason());
        goto fail;
    }
    if (load_certificate(ctx->ssl, s, error) < 0) {
        goto fail;
    }
    *out = ctx;
    return 0;

fail:
    tls_context_destroy(ctx);
    return -1;
}

void tls_context_destroy(struct tls_context *ctx)
{
    if (ctx) {
        SSL_CTX_free(ctx->ssl);
        free(ctx);
    }
}

/* One connection */

struct tls *tls_create(struct tls_context *ctx)
{
    struct tls *t = calloc(1, sizeof(*t));
    if (!t) {
        return NULL;
    }
    t->ssl = SSL_new(ctx->ssl);
    BIO *bio = BIO_new(bio_method());
    if (!t->ssl || !bio) {
        BIO_free(bio);
        tls_destroy(t);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_destroy(struct tls *t)
{
    if (t) {
        SSL_free(t->ssl);
        free(t);
    }
}

void tls_input(struct tls *t, const char *data, size_t len)
{
    t->in = data;
    t->in_len = len;
}

/* Before each OpenSSL call: its error queue is the thread's, and the application may have left something in it. */
static void begin(struct tls *t, struct buf *out)
{
    ERR_clear_error();
    t->out = out;
    t->no_memory = false;
}

/* What went wrong in an OpenSSL call that answered `r`, as an errno. */
static int failure(struct tls *t, int r)
{
    int why = SSL_get_error(t->ssl, r);
    if (t->no_memory) {
        ERR_clear_error();
        return -ENOMEM;
    }
    if (why == SSL_ERROR_WANT_READ) {
        return -EAGAIN;
    }
    const char *text = last_reason();
    strncpy(t->error, text, sizeof(t->error) - 1);
    return -EPROTO;
}

ssize_t tls_read(struct tls *t, char *dst, size_t max, struct buf *out)
{
    size_t n = 0;
    begin(t, out);
    int r = SSL_read_ex(t->ssl, dst, max, &n);
    ssize_t result;
    if (r == 1) {
        result = (ssize_t)n;
    } else if (SSL_get_error(t->ssl, r) == SSL_ERROR_ZERO_RETURN) {
        result = 0;
    } else {
        result = failure(t, r);
    }
    t->out = NULL;
    return result;
}

int tls_write(struct tls *t, const char *data, size_t len, struct buf *out)
{
    int r = 0;
    begin(t, out);
    while (len > 0 && r == 0) {
        size_t n = 0;
        int ok = SSL_write_ex(t->ssl, data, len, &n);
        if (ok == 1) {
            data += n;
            len -= n;
        } else {
            r = failure(t, ok);
            r = r == -EAGAIN ? -EPROTO : r; /* no renegotiation: writing never has to wait for reading */
        }
    }
    t->out = NULL;
    return r;
}

void tls_close(struct tls *t, struct buf *out)
{
    if (SSL_is_init_finished(t->ssl)) {
        begin(t, out);
        SSL_shutdown(t->ssl);
        t->out = NULL;
        ERR_clear_error();
    }
}

bool tls_is_ready(const struct tls *t)
{
    return SSL_is_init_finished(t->ssl);
}

const char *tls_error(const struct tls *t)
{
    return t->error;
}

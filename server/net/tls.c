/* tls.c - OpenSSL as a step: bytes in, bytes out, never a socket. */
#include "server/net/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/config/settings.h"
#include "server/net/certs.h"
#include "server/net/clientauth.h"
#include "server/net/clientcert.h"
#include "server/net/ktls.h"
#include "server/net/staples.h"
#include "server/net/tickets.h"

/* Mozilla's intermediate profile. The client's order counts: all of them are good, and it knows which are cheap for it.
 */
#define DEFAULT_CIPHERS                                                                                                \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                         \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"                           \
    "DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305"
#define DEFAULT_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

/* Connections begin with `front`, which has all settings of the protocol; once the client has told which host it wants,
 * they get the certificates of one of `sets`. So a renewal replaces the sets alone, and what belongs to the server as a
 * whole, such as the keys of session tickets, is always front's. */
struct tls_context {
    SSL_CTX *front;            /* owned; each connection holds a reference of its own */
    SSL_CTX **sets;            /* owned; one for each set of the store, with its certificates */
    const struct certs *certs; /* borrowed; until tls_context_use brings another one */
    const struct settings *settings;
    struct clientauth *auth; /* owned; NULL: clients show no certificates */
    struct staples *staples; /* owned */
    struct tickets *tickets; /* borrowed; NULL: OpenSSL has its own keys */
    bool ktls;               /* the kernel encrypts what can be sent by it */
};

struct tls {
    SSL *ssl;       /* owned, with its BIO */
    const char *in; /* borrowed: what tls_input handed over and was not taken yet */
    size_t in_len;
    struct buf *out; /* borrowed during a call */
    BIO *socket;     /* owned; what OpenSSL writes goes there, not to `out`, so that the kernel can take over from it */
    bool in_kernel;  /* it has: what is sent is plaintext */
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

/* As much as the socket takes. While the kernel has no keys, the rest goes the long way, and it will not get any: it
 * would encrypt what `out` holds once more. */
static int write_to_socket(struct tls *t, BIO *bio, const char *data, size_t len, size_t *done)
{
    int ok = BIO_write_ex(t->socket, data, len, done);
    if (t->in_kernel && !ok && BIO_should_retry(t->socket)) {
        BIO_set_retry_write(bio);
        return -1; /* SSL_shutdown does not see a 0 */
    }
    if (!t->in_kernel && (!ok || *done < len)) {
        *done = ok ? *done : 0;
        BIO_free(t->socket);
        t->socket = NULL;
        ok = 1;
    }
    return ok;
}

static int on_bio_write(BIO *bio, const char *data, size_t len, size_t *done)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *done = 0;
    if (t->socket) {
        int ok = write_to_socket(t, bio, data, len, done);
        if (t->socket) {
            return ok;
        }
    }
    if (!t->out || buf_append(t->out, data + *done, len - *done) < 0) {
        t->no_memory = true;
        return 0;
    }
    *done = len;
    return 1;
}

/* OpenSSL has keys for the kernel. */
static long begin_in_kernel(struct tls *t, long sending, void *keys)
{
    if (sending && t->socket && !t->in_kernel) {
        int fd;
        t->in_kernel =
            BIO_get_fd(t->socket, &fd) >= 0 && ktls_prepare(fd) && BIO_ctrl(t->socket, KTLS_BEGIN, sending, keys) > 0;
        return t->in_kernel;
    }
    return 0;
}

static long on_bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    struct tls *t = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    case KTLS_BEGIN:
        return begin_in_kernel(t, number, pointer);
    case BIO_CTRL_GET_KTLS_SEND:
        return t->in_kernel;
    case KTLS_RECORD_TYPE:
    case KTLS_CLEAR_TYPE:
        return t->in_kernel ? BIO_ctrl(t->socket, command, number, pointer) : 0;
    default:
        return 0;
    }
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

/* The certificates that the client gets, by the name that it asks for (RFC 6066 3). Also called when it names none. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    const struct tls_context *ctx = arg; /* NULL: it has gone, and front's certificates are as good as any */
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (ctx && !SSL_set_SSL_CTX(ssl, ctx->sets[name ? certs_find(ctx->certs, name) : 0])) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return name ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

static int min_version(const struct settings *s)
{
    return s->ssl_min_version && strcmp(s->ssl_min_version, "1.3") == 0 ? TLS1_3_VERSION : TLS1_2_VERSION;
}

/* An SSL_CTX with the settings of the protocol, which are the same for all certificates. NULL with a sentence. */
static SSL_CTX *make_ssl_ctx(const struct tls_context *ctx, struct buf *error)
{
    const struct settings *s = ctx->settings;
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    if (!ssl || !bio_method() || !SSL_CTX_set_min_proto_version(ssl, min_version(s)) ||
        !SSL_CTX_set1_groups_list(ssl, GROUPS) || !SSL_CTX_set_dh_auto(ssl, 1) || clientauth_plug(ctx->auth, ssl) < 0 ||
        staples_plug(ctx->staples, ssl) < 0) {
        buf_printf(error, "OpenSSL cannot be set up: %s", last_reason());
        SSL_CTX_free(ssl);
        return NULL;
    }
    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | (ctx->ktls ? SSL_OP_ENABLE_KTLS : 0));
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Tickets instead of a cache: their keys are shared (tickets.h), so they are good in every worker. */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ssl, on_alpn, NULL);
    if (!SSL_CTX_set_cipher_list(ssl, s->ciphers ? s->ciphers : DEFAULT_CIPHERS)) {
        buf_printf(error, "ciphers '%s': %s", s->ciphers, last_reason());
        SSL_CTX_free(ssl);
        return NULL;
    }
    if (!SSL_CTX_set_ciphersuites(ssl, s->ciphersuites ? s->ciphersuites : DEFAULT_SUITES)) {
        buf_printf(error, "ciphersuites '%s': %s", s->ciphersuites, last_reason());
        SSL_CTX_free(ssl);
        return NULL;
    }
    return ssl;
}

/* Puts the pairs of a set into it, of each kind of key one. 0 or -1 with a sentence. */
static int add_certificates(SSL_CTX *ssl, const struct certs *certs, const struct certset *set, struct buf *error)
{
    for (size_t i = 0; i < set->n; i++) {
        const struct certpair *p = certs_pair(certs, set->pair[i]);
        if (SSL_CTX_use_cert_and_key(ssl, p->cert, p->key, p->chain, 1) != 1) {
            buf_printf(error, "the certificate in '%s' cannot be used: %s", p->cert_path, last_reason());
            return -1;
        }
    }
    return 0;
}

static void free_sets(SSL_CTX **sets, size_t n)
{
    for (size_t i = 0; sets && i < n; i++) {
        SSL_CTX_free(sets[i]);
    }
    free(sets);
}

int tls_context_use(struct tls_context *ctx, const struct certs *certs, struct buf *error)
{
    size_t n = certs_sets(certs);
    SSL_CTX **sets = calloc(n, sizeof(SSL_CTX *));
    if (!sets) {
        buf_puts(error, "out of memory");
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        sets[i] = make_ssl_ctx(ctx, error);
        if (!sets[i] || add_certificates(sets[i], certs, certs_set(certs, i), error) < 0) {
            free_sets(sets, n);
            return -1;
        }
    }
    free_sets(ctx->sets, ctx->certs ? certs_sets(ctx->certs) : 0);
    ctx->sets = sets;
    ctx->certs = certs;
    return 0;
}

int tls_context_create(struct tls_context **out, const struct settings *s, const struct certs *certs, struct buf *error)
{
    struct tls_context *ctx = calloc(1, sizeof(*ctx));
    if (!ctx) {
        buf_puts(error, "out of memory");
        return -1;
    }
    ctx->settings = s;
    ctx->ktls = !(s->ktls && strcmp(s->ktls, "off") == 0) && ktls_is_offered();
    int r = staples_create(&ctx->staples);
    if (r < 0) {
        buf_printf(error, "memory for OCSP answers cannot be had: %s", strerror(-r));
    }
    if (r < 0 || clientauth_create(&ctx->auth, s, error) < 0 || !(ctx->front = make_ssl_ctx(ctx, error)) ||
        add_certificates(ctx->front, certs, certs_set(certs, 0), error) < 0 || tls_context_use(ctx, certs, error) < 0) {
        tls_context_destroy(ctx);
        return -1;
    }
    SSL_CTX_set_tlsext_servername_callback(ctx->front, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx->front, ctx);
    *out = ctx;
    return 0;
}

int tls_context_tickets(struct tls_context *ctx, struct tickets *tickets)
{
    ctx->tickets = tickets;
    return tickets_plug(ctx->front);
}

struct staples *tls_context_staples(struct tls_context *ctx)
{
    return ctx->staples;
}

void tls_context_destroy(struct tls_context *ctx)
{
    if (!ctx) {
        return;
    }
    if (ctx->front) {
        SSL_CTX_set_tlsext_servername_arg(ctx->front, NULL);
    }
    SSL_CTX_free(ctx->front);
    clientauth_destroy(ctx->auth);
    staples_destroy(ctx->staples);
    free_sets(ctx->sets, ctx->certs ? certs_sets(ctx->certs) : 0);
    free(ctx);
}

/* One connection */

struct tls *tls_create(struct tls_context *ctx, int fd)
{
    struct tls *t = calloc(1, sizeof(*t));
    if (!t) {
        return NULL;
    }
    t->ssl = SSL_new(ctx->front);
    BIO *bio = BIO_new(bio_method());
    t->socket = ctx->ktls && fd >= 0 ? BIO_new(BIO_s_socket()) : NULL; /* else it goes without */
    if (t->socket) {
        BIO_set_fd(t->socket, fd, BIO_NOCLOSE);
    }
    if (!t->ssl || !bio) {
        BIO_free(bio);
        tls_destroy(t);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    tickets_attach(ctx->tickets, t->ssl);
    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_destroy(struct tls *t)
{
    if (t) {
        SSL_free(t->ssl);
        BIO_free(t->socket);
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
    if (ERR_peek_error() != 0) { /* looking is cheaper */
        ERR_clear_error();
    }
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
    if (why == SSL_ERROR_WANT_WRITE) {
        return -ENOBUFS;
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

bool tls_has_more(const struct tls *t)
{
    return t->in_len > 0 || SSL_has_pending(t->ssl);
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

int tls_close(struct tls *t, struct buf *out)
{
    int r = 0;
    if (SSL_is_init_finished(t->ssl)) {
        begin(t, out);
        int said = SSL_shutdown(t->ssl);
        r = said < 0 && SSL_get_error(t->ssl, said) == SSL_ERROR_WANT_WRITE ? -EAGAIN : 0;
        t->out = NULL;
        ERR_clear_error();
    }
    return r;
}

bool tls_in_kernel(const struct tls *t)
{
    return t->in_kernel;
}

const char *tls_version(const struct tls *t)
{
    return SSL_get_version(t->ssl);
}

const char *tls_cipher(const struct tls *t)
{
    return SSL_get_cipher_name(t->ssl);
}

struct clientcert *tls_client(const struct tls *t)
{
    const X509 *cert = SSL_get0_peer_certificate(t->ssl);
    return cert && SSL_get_verify_result(t->ssl) == X509_V_OK ? clientcert_create(cert) : NULL;
}

bool tls_is_ready(const struct tls *t)
{
    return SSL_is_init_finished(t->ssl);
}

bool tls_has_time(const struct tls *t)
{
    return SSL_is_init_finished(t->ssl) && SSL_version(t->ssl) == TLS1_3_VERSION && !t->in_kernel;
}

const char *tls_error(const struct tls *t)
{
    return t->error;
}

const char *tls_library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

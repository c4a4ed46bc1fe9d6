/* test_tls.c - mistakes with certificates at start; connections to an OpenSSL client, in pieces of all sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/net/tls.h"

static char dir[] = "/tmp/test-tls-XXXXXX";

/* Files */

static void run(const char *command)
{
    if (system(command) != 0) {
        fail_msg("cannot run: %s", command);
    }
}

/* A copy of the certificate `from` whose days are over, or have not come yet. */
static int copy_with_dates(const char *from, const char *to, long begins, long ends)
{
    FILE *cert_file = fopen(from, "r"), *key_file = fopen("key.pem", "r"), *out = fopen(to, "w");
    assert_true(cert_file && key_file && out);
    X509 *cert = PEM_read_X509(cert_file, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_PrivateKey(key_file, NULL, NULL, NULL);
    int ok = X509_gmtime_adj(X509_getm_notBefore(cert), begins) && X509_gmtime_adj(X509_getm_notAfter(cert), ends) &&
             X509_sign(cert, key, EVP_sha256()) > 0 && PEM_write_X509(out, cert);
    X509_free(cert);
    EVP_PKEY_free(key);
    fclose(cert_file);
    fclose(key_file);
    fclose(out);
    return ok;
}

static int make_files(void **state)
{
    (void)state;
    if (!mkdtemp(dir) || chdir(dir) < 0 || chmod(dir, 0755) < 0) {
        return -1;
    }
    run("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>log");
    run("openssl ecparam -name prime256v1 -genkey -noout -out eckey.pem 2>log");
    run("openssl req -x509 -key eckey.pem -days 2 -subj /CN=localhost -out eccert.pem 2>log");
    run("openssl pkcs8 -topk8 -v2 aes-128-cbc -passout pass:x -in key.pem -out locked.pem 2>log");
    run("openssl x509 -in cert.pem -outform DER -out cert.der 2>log");
    run("cat key.pem cert.pem >both.pem; cat cert.pem eccert.pem >chain.pem; : >empty.pem; mkdir folder.pem");
    run("sed 's/^MII...../*******/' cert.pem >garbled.pem; sed 's/^MII...../*******/' key.pem >garbledkey.pem");
    run("cp key.pem secret.pem; cp cert.pem secretcert.pem; chmod 0 secret.pem secretcert.pem");
    return copy_with_dates("cert.pem", "stale.pem", -7200, -3600) &&
                   copy_with_dates("cert.pem", "early.pem", 3600, 7200)
               ? 0
               : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static int remove_files(void **state)
{
    (void)state;
    return chdir("/") < 0 ? -1 : nftw(dir, remove_one, 10, FTW_DEPTH | FTW_PHYS);
}

static struct tls_context *context(const char *cert, const char *key)
{
    struct settings s = {.certfile = (char *)cert, .keyfile = (char *)key};
    struct tls_context *ctx = NULL;
    struct buf error = {0};
    if (tls_context_create(&ctx, &s, &error) < 0) {
        fail_msg("%s", buf_cstr(&error));
    }
    assert_int_equal(error.len, 0);
    return ctx;
}

/* The error has both words in it, and is half a sentence. */
static void refuses(const struct settings *s, const char *what, const char *why)
{
    struct tls_context *ctx = NULL;
    struct buf error = {0};
    assert_int_equal(tls_context_create(&ctx, s, &error), -1);
    assert_null(ctx);
    const char *text = buf_cstr(&error);
    if (!strstr(text, what) || !strstr(text, why) || text[error.len - 1] == '.' || strchr(text, '\n')) {
        fail_msg("'%s' does not say '%s' of '%s'", text, why, what);
    }
    buf_finish(&error);
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left for whoever calls OpenSSL next */
}

static void test_mistakes_with_files_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *cert, *key, *what, *why;
    } table[] = {
        {"missing.pem", "key.pem", "certfile 'missing.pem'", "No such file or directory"},
        {"cert.pem", "missing.pem", "keyfile 'missing.pem'", "No such file or directory"},
        {"missing.pem", NULL, "certfile 'missing.pem'", "No such file or directory"},
        {"folder.pem", "key.pem", "certfile 'folder.pem'", "is not a file"},
        {"cert.pem", "folder.pem", "keyfile 'folder.pem'", "is not a file"},
        {"/dev/null", "key.pem", "certfile '/dev/null'", "is not a file"},
        {"empty.pem", "key.pem", "certfile 'empty.pem'", "no certificate in PEM format"},
        {"cert.der", "key.pem", "certfile 'cert.der'", "no certificate in PEM format"},
        {"key.pem", "key.pem", "certfile 'key.pem'", "no certificate in PEM format"},
        {"garbled.pem", "key.pem", "certfile 'garbled.pem'", "cannot be used"},
        {"cert.pem", "empty.pem", "'empty.pem'", "no private key in PEM format"},
        {"cert.pem", "cert.pem", "'cert.pem'", "no private key in PEM format"},
        {"cert.pem", NULL, "'cert.pem'", "no private key in PEM format"},
        {"cert.pem", "garbledkey.pem", "'garbledkey.pem'", "cannot be used"},
        {"cert.pem", "locked.pem", "'locked.pem'", "encrypted with a passphrase"},
        {"cert.pem", "eckey.pem", "'eckey.pem'", "does not belong to the certificate in 'cert.pem'"},
        {"eccert.pem", "key.pem", "'key.pem'", "does not belong to the certificate in 'eccert.pem'"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct settings s = {.certfile = (char *)table[i].cert, .keyfile = (char *)table[i].key};
        refuses(&s, table[i].what, table[i].why);
    }
}

static void test_unreadable_file_is_named(void **state)
{
    (void)state;
    struct settings cert = {.certfile = "secretcert.pem", .keyfile = "key.pem"};
    struct settings key = {.certfile = "cert.pem", .keyfile = "secret.pem"};
    uid_t us = geteuid();
    run("chmod 644 key.pem");
    if (us == 0) {
        assert_int_equal(seteuid(65534), 0); /* root may read everything */
    }
    refuses(&cert, "certfile 'secretcert.pem'", "Permission denied");
    refuses(&key, "keyfile 'secret.pem'", "Permission denied");
    assert_int_equal(seteuid(us), 0);
}

static void test_unknown_ciphers_are_refused(void **state)
{
    (void)state;
    struct settings s = {.certfile = "cert.pem", .keyfile = "key.pem", .ciphers = "NO-SUCH-CIPHER"};
    refuses(&s, "ciphers 'NO-SUCH-CIPHER'", "no cipher match");
}

static void test_good_files_of_every_kind_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *cert, *key;
    } table[] = {{"cert.pem", "key.pem"},
                 {"eccert.pem", "eckey.pem"},
                 {"both.pem", NULL},
                 {"both.pem", "key.pem"},
                 {"chain.pem", "key.pem"}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        tls_context_destroy(context(table[i].cert, table[i].key));
    }
    tls_context_destroy(NULL);
}

static void test_certificate_out_of_its_time_is_served_with_a_warning(void **state)
{
    (void)state;
    char text[1000] = {0};
    assert_int_equal(log_open("warnings", LOG_LEVEL_INFO), 0);
    tls_context_destroy(context("cert.pem", "key.pem"));
    tls_context_destroy(context("stale.pem", "key.pem"));
    tls_context_destroy(context("early.pem", "key.pem"));
    log_close();
    FILE *file = fopen("warnings", "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
    assert_non_null(strstr(text, "[WARNING] The certificate in stale.pem has expired"));
    assert_non_null(strstr(text, "[WARNING] The certificate in early.pem is not valid yet"));
    assert_null(strstr(text, "cert.pem"));
}

/* Connections */

struct pair {
    SSL_CTX *client_ctx;
    SSL *client;
    BIO *to_client, *from_client;
    struct tls *server;
    struct buf out;   /* from the server, not yet with the client */
    struct buf plain; /* what the server has read */
    size_t step;      /* bytes handed over at once */
    int end;          /* what tls_read said last, but -EAGAIN */
};

static void open_pair(struct pair *p, struct tls_context *ctx, size_t step)
{
    *p = (struct pair){.step = step, .end = -EAGAIN};
    p->client_ctx = SSL_CTX_new(TLS_client_method());
    p->server = tls_create(ctx);
    assert_non_null(p->client_ctx);
    assert_non_null(p->server);
    SSL_CTX_set_security_level(p->client_ctx, 0); /* so that the client's scruples do not hide the server's */
}

/* After the settings of client_ctx are made. */
static void open_client(struct pair *p)
{
    p->client = SSL_new(p->client_ctx);
    p->to_client = BIO_new(BIO_s_mem());
    p->from_client = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(p->to_client, -1);
    SSL_set_bio(p->client, p->to_client, p->from_client);
    SSL_set_connect_state(p->client);
}

static void close_pair(struct pair *p)
{
    SSL_free(p->client);
    SSL_CTX_free(p->client_ctx);
    tls_destroy(p->server);
    buf_finish(&p->out);
    buf_finish(&p->plain);
}

/* The server reads until it needs more input. */
static void read_server(struct pair *p)
{
    char got[100]; /* smaller than a record */
    ssize_t n;
    while ((n = tls_read(p->server, got, sizeof(got), &p->out)) > 0) {
        assert_int_equal(buf_append(&p->plain, got, (size_t)n), 0);
    }
    if (n != -EAGAIN) {
        p->end = (int)n;
    }
}

static void feed_server(struct pair *p, const char *data, size_t len)
{
    while (len > 0 && p->end == -EAGAIN) {
        size_t n = len < p->step ? len : p->step;
        char *piece = malloc(n); /* of just that size, and gone once it was taken */
        assert_non_null(piece);
        memcpy(piece, data, n);
        tls_input(p->server, piece, n);
        read_server(p);
        free(piece);
        data += n;
        len -= n;
    }
}

/* Carries bytes until none is left on the way. The client handshakes as it goes. True when something was carried. */
static bool carry(struct pair *p)
{
    char *data;
    bool any = false;
    SSL_do_handshake(p->client);
    long len = BIO_get_mem_data(p->from_client, &data);
    if (len > 0) {
        feed_server(p, data, (size_t)len);
        (void)BIO_reset(p->from_client);
        any = true;
    }
    while (p->out.len > 0) {
        size_t n = p->out.len < p->step ? p->out.len : p->step;
        assert_int_equal(BIO_write(p->to_client, p->out.data, (int)n), (int)n);
        buf_consume(&p->out, n);
        SSL_do_handshake(p->client);
        any = true;
    }
    return any;
}

static void handshake(struct pair *p)
{
    while (carry(p)) {
    }
    assert_true(SSL_is_init_finished(p->client));
    assert_true(tls_is_ready(p->server));
    assert_int_equal(p->end, -EAGAIN);
}

static void connect_pair(struct pair *p, struct tls_context *ctx, size_t step)
{
    open_pair(p, ctx, step);
    open_client(p);
    assert_false(tls_is_ready(p->server));
    handshake(p);
}

static void client_reads(struct pair *p, const char *expected, size_t len)
{
    char *got = malloc(len + 1);
    size_t n = 0;
    assert_non_null(got);
    while (carry(p)) {
    }
    for (int r; (r = SSL_read(p->client, got + n, (int)(len + 1 - n))) > 0;) {
        n += (size_t)r;
    }
    assert_int_equal(n, len);
    assert_memory_equal(got, expected, len);
    free(got);
}

static void test_bytes_pass_both_ways_however_they_are_cut(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 7, 1000, 1 << 20};
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static char large[100000]; /* several records */
    for (size_t i = 0; i < sizeof(large); i++) {
        large[i] = (char)(i * 7);
    }
    struct tls_context *ctx = context("cert.pem", "key.pem");
    for (size_t v = 0; v < 2; v++) {
        for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
            struct pair p;
            open_pair(&p, ctx, steps[i]);
            SSL_CTX_set_min_proto_version(p.client_ctx, versions[v]);
            SSL_CTX_set_max_proto_version(p.client_ctx, versions[v]);
            open_client(&p);
            handshake(&p);
            assert_int_equal(SSL_version(p.client), versions[v]);

            assert_int_equal(SSL_write(p.client, "GET /", 5), 5);
            assert_int_equal(SSL_write(p.client, large, sizeof(large)), sizeof(large));
            while (carry(&p)) {
            }
            assert_int_equal(p.plain.len, 5 + sizeof(large));
            assert_memory_equal(p.plain.data, "GET /", 5);
            assert_memory_equal(p.plain.data + 5, large, sizeof(large));

            assert_int_equal(tls_write(p.server, "200 OK", 6, &p.out), 0);
            client_reads(&p, "200 OK", 6);
            assert_int_equal(tls_write(p.server, large, sizeof(large), &p.out), 0);
            client_reads(&p, large, sizeof(large));
            close_pair(&p);
        }
    }
    tls_context_destroy(ctx);
}

static void test_both_kinds_of_key_serve(void **state)
{
    (void)state;
    struct tls_context *ctx = context("eccert.pem", "eckey.pem");
    struct pair p;
    connect_pair(&p, ctx, 100);
    assert_int_equal(tls_write(p.server, "hello", 5, &p.out), 0);
    client_reads(&p, "hello", 5);
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_connection_outlives_its_context(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct pair p;
    open_pair(&p, ctx, 100);
    open_client(&p);
    tls_context_destroy(ctx);
    handshake(&p);
    assert_int_equal(tls_write(p.server, "hello", 5, &p.out), 0);
    client_reads(&p, "hello", 5);
    close_pair(&p);
}

static void test_whole_chain_is_sent(void **state)
{
    (void)state;
    struct tls_context *ctx = context("chain.pem", "key.pem");
    struct pair p;
    connect_pair(&p, ctx, 1000);
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(p.client)), 2);
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_protocol_is_agreed_on_by_alpn(void **state)
{
    (void)state;
    static const struct {
        struct str {
            const char *p;
            unsigned len;
        } offer, chosen;
    } table[] = {
        {{"\x08http/1.1", 9}, {"http/1.1", 8}},
        {{"\x02h2\x08http/1.1", 12}, {"http/1.1", 8}},
        {{"\x02h2", 3}, {NULL, 0}}, /* we go on without it */
        {{NULL, 0}, {NULL, 0}},
    };
    struct tls_context *ctx = context("cert.pem", "key.pem");
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct pair p;
        const unsigned char *chosen;
        unsigned len;
        open_pair(&p, ctx, 1000);
        SSL_CTX_set_alpn_protos(p.client_ctx, (const unsigned char *)table[i].offer.p, table[i].offer.len);
        open_client(&p);
        handshake(&p);
        SSL_get0_alpn_selected(p.client, &chosen, &len);
        assert_int_equal(len, table[i].chosen.len);
        assert_memory_equal(chosen ? (const char *)chosen : "", table[i].chosen.p ? table[i].chosen.p : "", len);
        close_pair(&p);
    }
    tls_context_destroy(ctx);
}

static void test_session_of_one_connection_is_resumed_in_another(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct tls_context *ctx = context("cert.pem", "key.pem");
    for (size_t v = 0; v < 2; v++) {
        struct pair first, second;
        open_pair(&first, ctx, 1000);
        SSL_CTX_set_max_proto_version(first.client_ctx, versions[v]);
        open_client(&first);
        handshake(&first);
        assert_false(SSL_session_reused(first.client));
        assert_int_equal(tls_write(first.server, "x", 1, &first.out), 0);
        client_reads(&first, "x", 1); /* and the ticket */
        SSL_SESSION *session = SSL_get1_session(first.client);
        assert_true(SSL_SESSION_has_ticket(session));
        SSL_shutdown(first.client); /* else OpenSSL takes the session for a broken one */
        close_pair(&first);

        open_pair(&second, ctx, 1000);
        SSL_CTX_set_max_proto_version(second.client_ctx, versions[v]);
        open_client(&second);
        SSL_set_session(second.client, session);
        handshake(&second);
        assert_true(SSL_session_reused(second.client));
        SSL_SESSION_free(session);
        close_pair(&second);
    }
    tls_context_destroy(ctx);
}

/* The server has given up: it says why, and has an alert for the client. */
static void is_broken(struct pair *p, const char *why)
{
    assert_int_equal(p->end, -EPROTO);
    if (!strstr(tls_error(p->server), why)) {
        fail_msg("'%s' does not say '%s'", tls_error(p->server), why);
    }
}

static void test_old_versions_are_refused_with_an_alert(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct pair p;
    open_pair(&p, ctx, 1000);
    SSL_CTX_set_min_proto_version(p.client_ctx, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(p.client_ctx, TLS1_1_VERSION);
    open_client(&p);
    assert_true(carry(&p));
    is_broken(&p, "unsupported protocol");
    assert_int_equal(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
    ERR_clear_error();
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_plain_http_is_recognised(void **state)
{
    (void)state;
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct tls_context *ctx = context("cert.pem", "key.pem");
    for (size_t step = 1; step < 100; step += 98) {
        struct pair p;
        open_pair(&p, ctx, step);
        feed_server(&p, request, strlen(request));
        is_broken(&p, "http request");
        close_pair(&p);
    }
    tls_context_destroy(ctx);
}

static void test_garbage_breaks_the_connection_at_any_time(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    char garbage[1000];
    memset(garbage, 0xa5, sizeof(garbage));
    struct pair p;
    open_pair(&p, ctx, 1000);
    feed_server(&p, garbage, sizeof(garbage));
    is_broken(&p, "");
    assert_true(tls_error(p.server)[0] != '\0');
    close_pair(&p);

    connect_pair(&p, ctx, 1000);
    feed_server(&p, garbage, sizeof(garbage));
    is_broken(&p, "");
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_changed_record_is_noticed(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct pair p;
    char *data;
    connect_pair(&p, ctx, 1000);
    assert_int_equal(SSL_write(p.client, "amount: 10", 10), 10);
    long len = BIO_get_mem_data(p.from_client, &data);
    data[len - 1] ^= 1;
    feed_server(&p, data, (size_t)len);
    is_broken(&p, "bad record mac");
    assert_int_equal(p.plain.len, 0);
    assert_true(p.out.len > 0); /* an alert */
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_goodbye_of_the_client_is_the_end(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct pair p;
    connect_pair(&p, ctx, 3);
    assert_int_equal(SSL_write(p.client, "last words", 10), 10);
    SSL_shutdown(p.client);
    carry(&p);
    assert_int_equal(p.plain.len, 10);
    assert_int_equal(p.end, 0);
    assert_int_equal(tls_write(p.server, "answer", 6, &p.out), 0); /* it may still read: RFC 8446 6.1 */
    client_reads(&p, "answer", 6);
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_cut_is_not_taken_for_a_goodbye(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct pair p;
    char *data;
    connect_pair(&p, ctx, 1000);
    assert_int_equal(SSL_write(p.client, "half of it", 10), 10);
    SSL_shutdown(p.client);
    long len = BIO_get_mem_data(p.from_client, &data);
    feed_server(&p, data, (size_t)len - 1); /* the last byte of close_notify never comes */
    assert_int_equal(p.plain.len, 10);
    assert_int_equal(p.end, -EAGAIN);
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_closing_says_goodbye(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct pair p;
    char c;
    connect_pair(&p, ctx, 1000);
    assert_int_equal(tls_write(p.server, "last words", 10, &p.out), 0);
    tls_close(p.server, &p.out);
    client_reads(&p, "last words", 10);
    assert_int_equal(SSL_get_error(p.client, SSL_read(p.client, &c, 1)), SSL_ERROR_ZERO_RETURN);
    size_t before = p.out.len;
    tls_close(p.server, &p.out);
    assert_int_equal(p.out.len, before); /* once is enough */
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_nothing_is_said_when_the_handshake_was_not_done(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct pair p;
    open_pair(&p, ctx, 1000);
    tls_close(p.server, &p.out);
    assert_int_equal(p.out.len, 0);
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_errors_of_others_are_not_ours(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct pair p;
    connect_pair(&p, ctx, 1000);
    ERR_raise(ERR_LIB_USER, 1); /* as the application's use of OpenSSL may leave it */
    read_server(&p);
    assert_int_equal(p.end, -EAGAIN);
    ERR_raise(ERR_LIB_USER, 1);
    assert_int_equal(tls_write(p.server, "hello", 5, &p.out), 0);
    client_reads(&p, "hello", 5);
    ERR_clear_error();
    close_pair(&p);
    tls_context_destroy(ctx);
}

static void test_writing_nothing_sends_nothing(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct pair p;
    connect_pair(&p, ctx, 1000);
    assert_int_equal(tls_write(p.server, "", 0, &p.out), 0);
    assert_int_equal(p.out.len, 0);
    close_pair(&p);
    tls_destroy(NULL);
    tls_context_destroy(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_with_files_are_told_apart),
        cmocka_unit_test(test_unreadable_file_is_named),
        cmocka_unit_test(test_unknown_ciphers_are_refused),
        cmocka_unit_test(test_good_files_of_every_kind_are_taken),
        cmocka_unit_test(test_certificate_out_of_its_time_is_served_with_a_warning),
        cmocka_unit_test(test_bytes_pass_both_ways_however_they_are_cut),
        cmocka_unit_test(test_both_kinds_of_key_serve),
        cmocka_unit_test(test_connection_outlives_its_context),
        cmocka_unit_test(test_whole_chain_is_sent),
        cmocka_unit_test(test_protocol_is_agreed_on_by_alpn),
        cmocka_unit_test(test_session_of_one_connection_is_resumed_in_another),
        cmocka_unit_test(test_old_versions_are_refused_with_an_alert),
        cmocka_unit_test(test_plain_http_is_recognised),
        cmocka_unit_test(test_garbage_breaks_the_connection_at_any_time),
        cmocka_unit_test(test_changed_record_is_noticed),
        cmocka_unit_test(test_goodbye_of_the_client_is_the_end),
        cmocka_unit_test(test_cut_is_not_taken_for_a_goodbye),
        cmocka_unit_test(test_closing_says_goodbye),
        cmocka_unit_test(test_nothing_is_said_when_the_handshake_was_not_done),
        cmocka_unit_test(test_errors_of_others_are_not_ours),
        cmocka_unit_test(test_writing_nothing_sends_nothing),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

/* test_tls.c - connections to an OpenSSL client, in pieces of all sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/config/settings.h"
#include "server/net/certload.h"
#include "server/net/certs.h"
#include "server/net/tickets.h"
#include "server/net/tls.h"

static char dir[] = "/tmp/test-tls-XXXXXX";

/* Files */

static struct certs *stores[32]; /* until the end: contexts borrow them */
static size_t n_stores;

static void run(const char *command)
{
    if (system(command) != 0) {
        fail_msg("cannot run: %s", command);
    }
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
    run("openssl req -x509 -key eckey.pem -days 2 -subj /CN=other.example -out other.pem 2>log");
    run("mkdir hosts; cat key.pem cert.pem >hosts/rsa.pem; cat eckey.pem eccert.pem >hosts/ec.pem");
    run("cat eckey.pem other.pem >hosts/other.pem");
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static int remove_files(void **state)
{
    (void)state;
    while (n_stores > 0) {
        certs_destroy(stores[--n_stores]);
    }
    return chdir("/") < 0 ? -1 : nftw(dir, remove_one, 10, FTW_DEPTH | FTW_PHYS);
}

static const struct certs *store(const char *cert, const char *key)
{
    const struct certload from = {.certfile = cert, .keyfile = key, .host = "localhost"};
    struct certloaded loaded;
    struct buf error = {0}, warnings = {0};
    if (certload(&loaded, &from, NULL, time(NULL), &warnings, &error) < 0) {
        fail_msg("%s", buf_cstr(&error));
    }
    buf_finish(&warnings);
    assert_true(n_stores < sizeof(stores) / sizeof(stores[0]));
    stores[n_stores++] = loaded.certs;
    return loaded.certs;
}

static struct tls_context *context(const char *cert, const char *key)
{
    static const struct settings plain;
    struct tls_context *ctx = NULL;
    struct buf error = {0};
    if (tls_context_create(&ctx, &plain, store(cert, key), &error) < 0) {
        fail_msg("%s", buf_cstr(&error));
    }
    assert_int_equal(error.len, 0);
    return ctx;
}

static void test_unknown_ciphers_are_refused(void **state)
{
    (void)state;
    struct settings s = {.ciphers = "NO-SUCH-CIPHER"};
    struct tls_context *ctx = NULL;
    struct buf error = {0};
    assert_int_equal(tls_context_create(&ctx, &s, store("cert.pem", "key.pem"), &error), -1);
    assert_null(ctx);
    assert_string_equal(buf_cstr(&error), "ciphers 'NO-SUCH-CIPHER': no cipher match");
    buf_finish(&error);
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left for whoever calls OpenSSL next */
    tls_context_destroy(NULL);
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
    p->server = tls_create(ctx, -1);
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

/* The common name and the kind of key of what a client gets that asks for `name`. */
static void gets(struct tls_context *ctx, const char *name, const char *algorithms, const char *common, int type)
{
    struct pair p;
    char subject[100];
    open_pair(&p, ctx, 1000);
    SSL_CTX_set1_sigalgs_list(p.client_ctx, algorithms);
    open_client(&p);
    SSL_set_tlsext_host_name(p.client, name);
    handshake(&p);
    X509 *cert = SSL_get1_peer_certificate(p.client);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, subject, sizeof(subject));
    assert_string_equal(subject, common);
    assert_int_equal(EVP_PKEY_get_base_id(X509_get0_pubkey(cert)), type);
    X509_free(cert);
    close_pair(&p);
}

#define ANY "ECDSA+SHA256:RSA-PSS+SHA256"

static void test_client_gets_the_certificate_of_the_host_it_asks_for(void **state)
{
    (void)state;
    struct tls_context *ctx = context("hosts", NULL);
    gets(ctx, "localhost", ANY, "localhost", EVP_PKEY_EC);
    gets(ctx, "localhost", "RSA-PSS+SHA256", "localhost", EVP_PKEY_RSA);
    gets(ctx, "other.example", ANY, "other.example", EVP_PKEY_EC);
    gets(ctx, "OTHER.example", ANY, "other.example", EVP_PKEY_EC);
    gets(ctx, "unknown.example", ANY, "localhost", EVP_PKEY_EC);
    gets(ctx, NULL, "RSA-PSS+SHA256", "localhost", EVP_PKEY_RSA);
    tls_context_destroy(ctx);
}

static void test_renewal_reaches_a_client_that_has_not_said_what_it_wants(void **state)
{
    (void)state;
    struct tls_context *ctx = context("cert.pem", "key.pem");
    struct buf error = {0};
    struct pair p;
    open_pair(&p, ctx, 1000);
    open_client(&p);
    SSL_set_tlsext_host_name(p.client, "other.example");
    assert_int_equal(tls_context_use(ctx, store("hosts", NULL), &error), 0);
    handshake(&p);
    char subject[100];
    X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(p.client)), NID_commonName, subject,
                              sizeof(subject));
    assert_string_equal(subject, "other.example");
    assert_int_equal(tls_context_use(ctx, store("cert.pem", "key.pem"), &error), 0);
    assert_int_equal(tls_write(p.server, "hello", 5, &p.out), 0);
    client_reads(&p, "hello", 5);
    close_pair(&p);
    gets(ctx, "other.example", ANY, "localhost", EVP_PKEY_RSA);
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

static void test_session_is_resumed_also_after_a_renewal(void **state)
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

        struct buf error = {0};
        assert_int_equal(tls_context_use(ctx, store("eccert.pem", "eckey.pem"), &error), 0);
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

/* It would take the master and all other workers with it. */
static void test_no_worker_can_take_the_keys_of_tickets_away(void **state)
{
    (void)state;
    struct tickets *t;
    struct buf error = {0};
    assert_int_equal(tickets_create(&t, NULL, -1, &error), 0);
    assert_int_equal(ftruncate(tickets_fd(t), 0), -1);
    assert_int_equal(errno, EPERM);
    tickets_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unknown_ciphers_are_refused),
        cmocka_unit_test(test_bytes_pass_both_ways_however_they_are_cut),
        cmocka_unit_test(test_both_kinds_of_key_serve),
        cmocka_unit_test(test_connection_outlives_its_context),
        cmocka_unit_test(test_client_gets_the_certificate_of_the_host_it_asks_for),
        cmocka_unit_test(test_renewal_reaches_a_client_that_has_not_said_what_it_wants),
        cmocka_unit_test(test_protocol_is_agreed_on_by_alpn),
        cmocka_unit_test(test_session_is_resumed_also_after_a_renewal),
        cmocka_unit_test(test_no_worker_can_take_the_keys_of_tickets_away),
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

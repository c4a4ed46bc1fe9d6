/* test_certload.c - which certificates serve whom, from files made by openssl; every mistake is told apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/net/certfiles.h"
#include "server/net/certload.h"
#include "server/net/certpack.h"
#include "server/net/certs.h"
#include "tests/unit/folder.h"

#define DAY 86400

static size_t verified, compared; /* signatures and keys: they take the time */

/* In place of OpenSSL's. */
int X509_verify(X509 *cert, EVP_PKEY *key)
{
    int (*real)(X509 *, EVP_PKEY *);
    *(void **)&real = dlsym(RTLD_NEXT, "X509_verify");
    verified++;
    return real(cert, key);
}

int EVP_PKEY_eq(const EVP_PKEY *a, const EVP_PKEY *b)
{
    int (*real)(const EVP_PKEY *, const EVP_PKEY *);
    *(void **)&real = dlsym(RTLD_NEXT, "EVP_PKEY_eq");
    compared++;
    return real(a, b);
}

/* Files */

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (system(command) != 0) {
        fail_msg("cannot run: %s", command);
    }
}

/* A copy of the certificate `from` with other dates, in seconds from now. */
static void redate(const char *from, const char *key_path, const char *to, long begins, long ends)
{
    FILE *cert_file = fopen(from, "r"), *key_file = fopen(key_path, "r"), *out;
    assert_true(cert_file && key_file);
    X509 *cert = PEM_read_X509(cert_file, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_PrivateKey(key_file, NULL, NULL, NULL);
    fclose(cert_file);
    fclose(key_file);
    out = fopen(to, "w");
    assert_non_null(out);
    assert_true(X509_gmtime_adj(X509_getm_notBefore(cert), begins) && X509_gmtime_adj(X509_getm_notAfter(cert), ends) &&
                X509_sign(cert, key, EVP_sha256()) > 0 && PEM_write_X509(out, cert));
    X509_free(cert);
    EVP_PKEY_free(key);
    fclose(out);
}

/* NAME.crt and NAME.key, self-signed for `names` ("DNS:a,DNS:b"). */
static void make(const char *folder_name, const char *name, const char *kind, const char *names)
{
    run("openssl req -x509 -newkey %s -nodes -days 9 -subj /CN=common -addext subjectAltName=%s "
        "-keyout %s/%s.key -out %s/%s.crt 2>log",
        kind, names, folder_name, name, folder_name, name);
}

#define EC "ec -pkeyopt ec_paramgen_curve:prime256v1"
#define RSA "rsa:2048"

static int make_files(void **state)
{
    (void)state;
    if (folder_enter() < 0 || chmod(".", 0755) < 0) {
        return -1;
    }
    run("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>log");
    run("openssl req -x509 -newkey " EC " -nodes -days 2 -subj /CN=localhost -keyout eckey.pem -out eccert.pem 2>log");
    run("openssl req -x509 -newkey rsa:1024 -nodes -days 2 -subj /CN=weak -keyout weakkey.pem -out weak.pem 2>log");
    run("openssl pkcs8 -topk8 -v2 aes-128-cbc -passout pass:x -in key.pem -out locked.pem 2>log");
    run("openssl rsa -traditional -aes128 -passout pass:x -in key.pem -out oldlocked.pem 2>log");
    run("openssl x509 -in cert.pem -outform DER -out cert.der 2>log");
    run("cat key.pem cert.pem >both.pem; cat cert.pem eccert.pem >chain.pem; : >empty.pem; mkdir folder.pem; mkfifo "
        "fifo");
    run("sed 's/^MII...../*******/' cert.pem >garbled.pem; sed 's/^MII...../*******/' key.pem >garbledkey.pem");
    run("head -n 5 cert.pem >half.pem; head -n 5 key.pem >halfkey.pem; head -c 2000000 /dev/zero >huge.pem");
    run("(printf '\\357\\273\\277'; cat cert.pem) >mark.pem; (openssl ecparam -name prime256v1; cat eckey.pem) "
        ">params.pem");
    run("cp key.pem secret.pem; cp cert.pem secretcert.pem; chmod 644 key.pem; chmod 0 secret.pem secretcert.pem");
    redate("cert.pem", "key.pem", "stale.pem", -7200, -3600);
    redate("cert.pem", "key.pem", "early.pem", 3600, 7200);
    run("mkdir certsonly keysonly mixed; cp cert.pem certsonly/a; cp key.pem keysonly/b; "
        "cp cert.pem mixed/a.crt; cp eckey.pem mixed/b.key");
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    return folder_leave();
}

/* A folder of the test's own, entered. */
static int begin(void **state)
{
    (void)state;
    run("rm -rf %s/own; mkdir %s/own", folder, folder);
    return chdir("own");
}

static int end(void **state)
{
    (void)state;
    return chdir(folder);
}

/* Loading */

static struct buf warnings, error;
static time_t next_change;
static bool forget; /* what was deleted, as a reload does */

static int try_load(struct certs **out, const char *cert, const char *key, const char *host, const struct certs *before)
{
    const struct certload from = {.certfile = cert, .keyfile = key, .host = host, .forget = forget};
    struct certloaded loaded;
    warnings.len = error.len = 0;
    int r = certload(&loaded, &from, before, time(NULL), &warnings, &error);
    *out = loaded.certs;
    next_change = loaded.next;
    assert_non_null(buf_cstr(&warnings));
    assert_non_null(buf_cstr(&error));
    assert_true(r == 0 ? error.len == 0 && *out : error.len > 0 && !*out);
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left for whoever calls OpenSSL next */
    return r;
}

static struct certs *load(const char *cert, const char *key, const char *host, const struct certs *before)
{
    struct certs *c;
    if (try_load(&c, cert, key, host, before) < 0) {
        fail_msg("%s", error.data);
    }
    return c;
}

/* The error has all words in it, and is a sentence without its full stop. */
static void refuses(const char *cert, const char *key, const char *what, const char *why)
{
    struct certs *c;
    assert_int_equal(try_load(&c, cert, key, NULL, NULL), -1);
    if (!strstr(error.data, what) || !strstr(error.data, why) || error.data[error.len - 1] == '.' ||
        strchr(error.data, '\n')) {
        fail_msg("'%s' does not say '%s' of '%s'", error.data, why, what);
    }
}

static void warns(const char *text)
{
    if (!strstr(warnings.data, text)) {
        fail_msg("'%s' does not say '%s'", warnings.data, text);
    }
}

static void serves_file(const struct certs *c, const char *name, const char *cert_path)
{
    const struct certset *set = certs_set(c, certs_find(c, name));
    assert_int_equal(set->n, 1);
    assert_string_equal(certs_pair(c, set->pair[0])->cert_path, cert_path);
}

/* At start */

static void test_mistakes_with_files_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *cert, *key, *what, *why;
    } table[] = {
        {"missing.pem", "key.pem", "certfile 'missing.pem'", "No such file or directory; name a file"},
        {"cert.pem", "missing.pem", "keyfile 'missing.pem'", "No such file or directory; name a file"},
        {"missing.pem", NULL, "certfile 'missing.pem'", "No such file or directory"},
        {"missing/*.pem", NULL, "certfile 'missing/*.pem'", "No such file or directory"},
        {"cert.pem/x", NULL, "certfile 'cert.pem/x'", "Not a directory"},
        {"/dev/null", "key.pem", "certfile '/dev/null'", "is not a file"},
        {"fifo", "key.pem", "certfile 'fifo'", "is not a file"},
        {"cert.pem", "fifo", "keyfile 'fifo'", "is not a file"},
        {"huge.pem", "key.pem", "certfile 'huge.pem'", "too large"},
        {"empty.pem", "key.pem", "certfile 'empty.pem'", "no certificate in PEM format"},
        {"cert.der", "key.pem", "certfile 'cert.der'", "openssl x509 -inform der"},
        {"key.pem", "key.pem", "certfile 'key.pem'", "no certificate in PEM format"},
        {"garbled.pem", "key.pem", "certfile: the certificate in 'garbled.pem'", "cannot be used"},
        {"half.pem", "key.pem", "certfile: the certificate in 'half.pem'", "half-written"},
        {"cert.pem", "empty.pem", "'empty.pem'", "no private key in PEM format"},
        {"cert.pem", "cert.pem", "'cert.pem'", "no private key in PEM format"},
        {"cert.pem", NULL, "'cert.pem'", "name the file that holds it with keyfile"},
        {"cert.pem", "garbledkey.pem", "'garbledkey.pem'", "cannot be used"},
        {"cert.pem", "halfkey.pem", "'halfkey.pem'", "half-written"},
        {"cert.pem", "locked.pem", "'locked.pem'", "encrypted with a passphrase: store it without one"},
        {"cert.pem", "oldlocked.pem", "'oldlocked.pem'", "encrypted with a passphrase"},
        {"cert.pem", "eckey.pem", "'eckey.pem'", "does not belong to the certificate in 'cert.pem'"},
        {"eccert.pem", "key.pem", "'key.pem'", "does not belong to the certificate in 'eccert.pem'"},
        {"weak.pem", "weakkey.pem", "certfile 'weak.pem'", "ee key too small"},
        {"folder.pem", "key.pem", "certfile 'folder.pem'", "no certificate"},
        {"cert.pem", "folder.pem", "keyfile 'folder.pem'", "no private key"},
        {"keysonly", NULL, "certfile 'keysonly'", "no certificate"},
        {"certsonly", NULL, "certfile 'certsonly'", "no private key"},
        {"mixed", NULL, "none of the 1 private keys in 'mixed'", "one of the 1 certificates"},
        {"locked*.pem", "key.pem", "certfile 'locked*.pem'", "no certificate"},
        {"cert.pem", "locked*.pem", "keyfile 'locked*.pem'", "encrypted with a passphrase"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        refuses(table[i].cert, table[i].key, table[i].what, table[i].why);
    }
}

static void test_unreadable_file_is_named(void **state)
{
    (void)state;
    uid_t us = geteuid();
    if (us == 0) {
        assert_int_equal(seteuid(65534), 0); /* root may read everything */
    }
    refuses("secretcert.pem", "key.pem", "certfile 'secretcert.pem'", "Permission denied; run cwsgi as a user");
    refuses("cert.pem", "secret.pem", "keyfile 'secret.pem'", "Permission denied");
    refuses("secret*.pem", NULL, "certfile 'secret*.pem'", "Permission denied");
    assert_int_equal(seteuid(us), 0);
}

static void test_good_files_of_every_kind_are_taken_without_a_word(void **state)
{
    (void)state;
    static const struct {
        const char *cert, *key;
    } table[] = {
        {"cert.pem", "key.pem"},  {"eccert.pem", "eckey.pem"},   {"both.pem", NULL},      {"both.pem", "key.pem"},
        {"certsonly", "key.pem"}, {"certsonly", "keysonly"},     {"bot*", NULL},          {"certsonly/*", "keysonly/?"},
        {"cert.pem", "keysonly"}, {"./certsonly/a", "keysonly"}, {"mark.pem", "key.pem"}, {"eccert.pem", "params.pem"},
        {"both.pem", "."}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        certs_destroy(load(table[i].cert, table[i].key, NULL, NULL));
        if (i < 12) { /* the last has all that the other tests use */
            assert_string_equal(warnings.data, "");
        }
    }
    certs_destroy(NULL);
}

static void test_certificate_out_of_its_time_is_served_with_a_warning(void **state)
{
    (void)state;
    certs_destroy(load("stale.pem", "key.pem", NULL, NULL));
    warns("The certificate in stale.pem has expired");
    certs_destroy(load("early.pem", "key.pem", NULL, NULL));
    warns("The certificate in early.pem is not valid yet");
}

static void test_home_folder_is_known(void **state)
{
    (void)state;
    setenv("HOME", folder, 1);
    struct certs *c = load("~/cert.pem", "~/keysonly", NULL, NULL);
    assert_int_equal(certs_count(c), 1);
    certs_destroy(c);
    refuses("~/none", NULL, "certfile '~/none'", "No such file");
}

/* Chains */

/* root <- middle <- leaf */
static void make_chain(void)
{
    run("openssl req -x509 -newkey " EC " -nodes -days 9 -subj /CN=root -keyout root.key -out root.crt 2>log; "
        "for pair in middle:root:CA:TRUE leaf:middle:CA:FALSE; do set -- $(echo $pair | tr : ' '); "
        "echo basicConstraints=$3:$4 >ext; echo subjectAltName=DNS:$1.example >>ext; "
        "openssl req -newkey " EC " -nodes -subj /CN=$1 -keyout $1.key -out csr 2>>log && "
        "openssl x509 -req -in csr -days 9 -CA $2.crt -CAkey $2.key -CAcreateserial -extfile ext -out $1.crt 2>>log; "
        "done; "
        "rm csr ext *.srl log");
}

static int chain_len(const struct certs *c)
{
    const struct certpair *p = certs_pair(c, 0);
    return p->chain ? sk_X509_num(p->chain) : 0;
}

static void test_chain_is_completed_from_the_folder(void **state)
{
    (void)state;
    make_chain();
    run("mkdir d sub; cp leaf.* middle.crt root.crt d; mkdir d/more; mv d/middle.crt d/more");
    struct certs *c = load("d", NULL, NULL, NULL);
    assert_int_equal(chain_len(c), 1); /* a client has the root, or it does not trust it */
    assert_string_equal(certs_pair(c, 0)->names[0], "leaf.example");
    certs_destroy(c);
    run("cat leaf.crt middle.crt root.crt >full.pem");
    c = load("full.pem", "leaf.key", NULL, NULL);
    assert_string_equal(warnings.data, "");
    assert_int_equal(chain_len(c), 2); /* it stands there on purpose */
    certs_destroy(c);
}

static void test_chain_that_is_out_of_order_or_incomplete_is_served_with_a_warning(void **state)
{
    (void)state;
    make_chain();
    run("cat middle.crt leaf.crt root.crt >mixed.pem; cat leaf.crt root.crt >hole.pem");
    struct certs *c = load("mixed.pem", "leaf.key", NULL, NULL);
    warns("The certificates in mixed.pem are out of order");
    assert_int_equal(chain_len(c), 2);
    assert_string_equal(certs_pair(c, 0)->names[0], "leaf.example");
    certs_destroy(c);
    c = load("leaf.crt", "leaf.key", NULL, NULL);
    warns("The chain of the certificate in leaf.crt is incomplete: the certificate of '/CN=middle' is not there");
    certs_destroy(c);
    c = load("hole.pem", "leaf.key", NULL, NULL);
    warns("hole.pem are out of order");
    warns("is incomplete");
    certs_destroy(c);
}

/* Which one serves */

static void test_newest_pair_that_is_valid_serves(void **state)
{
    (void)state;
    make(".", "old", EC, "DNS:site.example");
    make(".", "new", EC, "DNS:site.example");
    make(".", "stale", EC, "DNS:site.example");
    make(".", "early", EC, "DNS:site.example");
    redate("old.crt", "old.key", "old.crt", -9 * DAY, 9 * DAY);
    redate("new.crt", "new.key", "new.crt", -8 * DAY, 7 * DAY);
    redate("stale.crt", "stale.key", "stale.crt", -7 * DAY, -60);
    redate("early.crt", "early.key", "early.crt", 60, 90 * DAY);
    struct certs *c = load(".", NULL, NULL, NULL);
    serves_file(c, "site.example", "./new.crt");
    assert_int_equal(certs_count(c), 1);
    assert_string_equal(warnings.data, "");
    assert_true(next_change > time(NULL) && next_change <= time(NULL) + 60); /* when the early one's time has come */
    certs_destroy(c);
}

static void test_of_equal_dates_the_newest_file_serves(void **state)
{
    (void)state;
    make(".", "a", EC, "DNS:site.example");
    make(".", "b", EC, "DNS:site.example");
    redate("a.crt", "a.key", "a.crt", -DAY, DAY);
    redate("b.crt", "b.key", "b.crt", -DAY, DAY);
    run("touch -d '2 hours ago' b.crt");
    struct certs *c = load(".", NULL, NULL, NULL);
    serves_file(c, "site.example", "./a.crt");
    certs_destroy(c);
    run("touch b.crt; touch -d '1 hour ago' a.crt");
    c = load(".", NULL, NULL, NULL);
    serves_file(c, "site.example", "./b.crt");
    certs_destroy(c);
}

static void test_each_name_has_its_certificate(void **state)
{
    (void)state;
    make(".", "one", EC, "DNS:one.example,DNS:www.one.example");
    make(".", "two", EC, "DNS:two.example,DNS:*.two.example,IP:127.0.0.1");
    make(".", "special", EC, "DNS:special.two.example");
    redate("one.crt", "one.key", "one.crt", -3 * DAY, 9 * DAY);
    redate("two.crt", "two.key", "two.crt", -2 * DAY, 9 * DAY);
    struct certs *c = load(".", NULL, "two.example", NULL);
    serves_file(c, "one.example", "./one.crt");
    serves_file(c, "WWW.One.Example.", "./one.crt");
    serves_file(c, "two.example", "./two.crt");
    serves_file(c, "a.two.example", "./two.crt");
    serves_file(c, "127.0.0.1", "./two.crt");
    serves_file(c, "special.two.example", "./special.crt");
    serves_file(c, "a.b.two.example",
                "./two.crt"); /* a star stands for one label: RFC 6125 6.4.3; this is the default */
    assert_true(certs_covers(c, "a.two.example") && !certs_covers(c, "a.b.two.example"));
    assert_false(certs_covers(c, "*.two.example") || certs_covers(c, "") || certs_covers(c, "."));
    serves_file(c, "unknown.example", "./two.crt");
    certs_destroy(c);
    c = load(".", NULL, NULL, NULL);
    serves_file(c, "unknown.example", "./special.crt"); /* the newest */
    certs_destroy(c);
    c = load(".", NULL, "other.example", NULL);
    warns("No certificate covers other.example");
    certs_destroy(c);
}

static void test_cert_host_may_be_spelt_in_any_case_and_with_its_dot(void **state)
{
    (void)state;
    static const char *const spellings[] = {"OLD.Example", "old.example.", "Old.Example.", "Any.STAR.example."};
    make(".", "old", EC, "DNS:old.example,DNS:*.star.example");
    make(".", "new", EC, "DNS:new.example");
    redate("old.crt", "old.key", "old.crt", -2 * DAY, 9 * DAY);
    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        struct certs *c = load(".", NULL, spellings[i], NULL);
        serves_file(c, "unknown.example", "./old.crt");
        assert_string_equal(warnings.data, "");
        certs_destroy(c);
    }
}

static void test_newer_wildcard_is_preferred_to_an_older_name(void **state)
{
    (void)state;
    make(".", "name", EC, "DNS:www.site.example");
    make(".", "star", EC, "DNS:*.site.example");
    redate("name.crt", "name.key", "name.crt", -2 * DAY, 9 * DAY);
    struct certs *c = load(".", NULL, NULL, NULL);
    serves_file(c, "www.site.example", "./star.crt");
    assert_int_equal(certs_count(c), 1);
    certs_destroy(c);
}

static void test_rsa_and_ecdsa_stand_side_by_side(void **state)
{
    (void)state;
    make(".", "ec", EC, "DNS:site.example,DNS:only-ec.example");
    make(".", "rsa", RSA, "DNS:site.example");
    make(".", "oldrsa", RSA, "DNS:site.example");
    redate("oldrsa.crt", "oldrsa.key", "oldrsa.crt", -3 * DAY, 9 * DAY);
    struct certs *c = load(".", NULL, NULL, NULL);
    assert_int_equal(certs_count(c), 2);
    assert_int_equal(certs_set(c, certs_find(c, "site.example"))->n, 2);
    serves_file(c, "only-ec.example", "./ec.crt");
    struct buf text = {0};
    assert_int_equal(
        certs_describe(c, 0, time(NULL), &text) + buf_puts(&text, "\n") + certs_describe(c, 1, time(NULL), &text), 0);
    assert_non_null(strstr(buf_cstr(&text), "site.example, only-ec.example (ECDSA P-256) until 20"));
    assert_non_null(strstr(text.data, "site.example (RSA 2048) until "));
    assert_non_null(strstr(text.data, " days): ./rsa.crt with ./rsa.key"));
    buf_finish(&text);
    certs_destroy(c);
}

static void test_authorities_and_certificates_of_people_serve_nobody(void **state)
{
    (void)state;
    make_chain(); /* the keys of root and middle are there, too */
    make(".", "person", EC, "DNS:leaf.example -addext extendedKeyUsage=clientAuth");
    struct certs *c = load(".", NULL, NULL, NULL);
    assert_int_equal(certs_count(c), 1);
    serves_file(c, "leaf.example", "./leaf.crt");
    serves_file(c, "middle.example", "./leaf.crt");
    certs_destroy(c);
    run("mkdir own; mv root.crt root.key own");
    c = load("own", NULL, NULL, NULL); /* who names only that one means it */
    assert_int_equal(certs_count(c), 1);
    certs_destroy(c);
}

static void test_renewed_with_the_same_key_is_no_authority(void **state)
{
    (void)state;
    make(".", "a", EC, "DNS:site.example");
    run("openssl req -x509 -key a.key -days 20 -subj /CN=common -addext subjectAltName=DNS:site.example -out b.crt "
        "2>log");
    redate("a.crt", "a.key", "a.crt", -DAY, DAY);
    struct certs *c = load(".", NULL, NULL, NULL);
    serves_file(c, "site.example", "./b.crt");
    certs_destroy(c);
}

static void test_newer_certificate_without_its_key_is_told(void **state)
{
    (void)state;
    make(".", "old", EC, "DNS:site.example");
    make(".", "new", EC, "DNS:site.example");
    redate("old.crt", "old.key", "old.crt", -2 * DAY, 9 * DAY);
    unlink("new.key");
    struct certs *c = load(".", NULL, NULL, NULL);
    serves_file(c, "site.example", "./old.crt");
    warns(
        "Not used: the certificate in './new.crt' is newer than the one that serves site.example, but its private key");
    certs_destroy(c);
}

/* While it serves */

static void test_what_serves_stays_when_its_files_go(void **state)
{
    (void)state;
    make(".", "a", EC, "DNS:a.example");
    make(".", "b", EC, "DNS:b.example");
    struct certs *first = load(".", NULL, "b.example", NULL);
    unlink("b.crt");
    struct certs *second = load(".", NULL, "b.example", first);
    certs_destroy(first);
    warns("The certificate in ./b.crt is not there any more, nor another valid one for b.example");
    serves_file(second, "b.example", "./b.crt");
    serves_file(second, "unknown.example", "./b.crt");
    assert_true(certs_pair(second, certs_set(second, 0)->pair[0])->kept);
    make(".", "c", EC, "DNS:b.example"); /* what takes its place */
    struct certs *third = load(".", NULL, "b.example", second);
    serves_file(third, "b.example", "./c.crt");
    assert_string_equal(warnings.data, "");
    unlink("a.crt");
    unlink("c.crt");
    struct certs *none;
    assert_int_equal(try_load(&none, ".", NULL, NULL, third), -1);
    certs_destroy(second);
    certs_destroy(third);
}

static void test_file_that_holds_another_pair_is_believed(void **state)
{
    (void)state;
    make(".", "a", EC, "DNS:a.example");
    make(".", "b", EC, "DNS:b.example");
    struct certs *first = load(".", NULL, NULL, NULL);
    make(".", "b", EC, "DNS:c.example");
    struct certs *second = load(".", NULL, NULL, first);
    assert_false(certs_same(first, second));
    assert_false(certs_covers(second, "b.example"));
    struct certs *third = load(".", NULL, NULL, second);
    assert_true(certs_same(second, third));
    certs_destroy(first);
    certs_destroy(second);
    certs_destroy(third);
}

/* a.* of now, and old.* of the given days; the store that serves is `first`, and a.crt is in it. */
static struct certs *make_old_and_new(long begins, long ends)
{
    make(".", "a", EC, "DNS:site.example");
    make(".", "old", EC, "DNS:site.example");
    redate("old.crt", "old.key", "old.crt", begins * DAY, ends * DAY);
    struct certs *first = load(".", NULL, NULL, NULL);
    serves_file(first, "site.example", "./a.crt");
    return first;
}

static const char *const DAMAGES[] = {
    "rm a.key", "head -n 2 a.key >x; mv x a.key",     "echo junk >a.key", "head -n 5 a.crt >x; mv x a.crt",
    ": >a.crt", "cp old.key a.key; cp old.crt a.crt", "rm a.crt a.key",
};
#define N_DAMAGES (sizeof(DAMAGES) / sizeof(DAMAGES[0]))

/* Nor does one whose time has not come, nor by a reload. */
static void test_expired_pair_takes_nothing_over_from_memory(void **state)
{
    (void)state;
    static const long dates[][2] = {{-90, -3}, {3, 90}};
    for (size_t d = 0; d < 2; d++) {
        struct certs *first = make_old_and_new(dates[d][0], dates[d][1]);
        run("rm -rf whole; mkdir whole; cp a.* whole");
        for (size_t i = 0; i < 2 * N_DAMAGES; i++) {
            run("cp whole/* .; %s; mv whole .whole", DAMAGES[i / 2]);
            forget = i % 2;
            struct certs *second = load(".", NULL, NULL, first);
            serves_file(second, "site.example", "./a.crt");
            assert_true(certs_same(first, second) && certs_pair(second, 0)->kept);
            warns("in memory goes on serving");
            assert_true(next_change > time(NULL));
            certs_destroy(second);
            run("mv .whole whole");
        }
        certs_destroy(first);
    }
    forget = false;
}

static void test_older_pair_takes_over_only_when_the_newer_one_was_deleted(void **state)
{
    (void)state;
    struct certs *first = make_old_and_new(-85, 5);
    run("mkdir .whole; cp a.* .whole");
    for (size_t i = 0; i < N_DAMAGES; i++) {
        run("cp .whole/* .; %s", DAMAGES[i]);
        bool believed = strstr(DAMAGES[i], "old.crt") || strstr(DAMAGES[i], "rm a.crt");
        struct certs *second = load(".", NULL, NULL, first);
        assert_int_equal(certs_count(second), 1);
        assert_int_equal(certs_pair(second, 0)->kept, !believed);
        assert_int_equal(certs_same(first, second), !believed);
        certs_destroy(second);
    }
    certs_destroy(first);
}

static void test_reload_forgets_what_was_deleted_but_not_what_is_half_written(void **state)
{
    (void)state;
    make(".", "a", EC, "DNS:a.example");
    make(".", "b", EC, "DNS:b.example");
    make(".", "c", EC, "DNS:c.example");
    struct certs *first = load(".", NULL, NULL, NULL);
    run("rm a.crt a.key; echo junk >b.key");
    forget = true;
    struct certs *second = load(".", NULL, NULL, first);
    forget = false;
    assert_false(certs_covers(second, "a.example"));
    serves_file(second, "b.example", "./b.crt");
    warns("What is in ./b.crt now, or its private key, cannot serve b.example: the one in memory goes on");
    certs_destroy(second);
    certs_destroy(first);
}

static void test_file_named_just_so_that_holds_an_expired_pair_does_not_replace_the_valid_one(void **state)
{
    (void)state;
    struct certs *first = make_old_and_new(-90, -3);
    certs_destroy(first);
    first = load("a.crt", "a.key", NULL, NULL);
    run("cp old.crt a.crt; cp old.key a.key");
    struct certs *second = load("a.crt", "a.key", NULL, first);
    assert_true(certs_same(first, second));
    make(".", "a", EC, "DNS:other.example");
    struct certs *third = load("a.crt", "a.key", NULL, second);
    assert_false(certs_covers(third, "site.example"));
    certs_destroy(first);
    certs_destroy(second);
    certs_destroy(third);
}

static void test_both_kinds_of_key_of_one_file_stay_in_memory(void **state)
{
    (void)state;
    make(".", "ec", EC, "DNS:site.example");
    make(".", "rsa", RSA, "DNS:site.example");
    make(".", "other", EC, "DNS:other.example");
    run("cat ec.* rsa.* >both.pem; rm ec.* rsa.*");
    struct certs *first = load(".", NULL, NULL, NULL);
    run(": >both.pem");
    struct certs *second = load(".", NULL, NULL, first);
    assert_int_equal(certs_set(second, certs_find(second, "site.example"))->n, 2);
    certs_destroy(first);
    certs_destroy(second);
}

static void test_packed_store_serves_the_same(void **state)
{
    (void)state;
    make_chain();
    make(".", "rsa", RSA, "DNS:leaf.example,DNS:*.site.example");
    struct certs *c = load(".", NULL, "x.site.example", NULL), *copy;
    struct buf packed = {0};
    assert_int_equal(certpack_put(c, &packed), 0);
    for (size_t n = 0; n < packed.len; n++) {
        char *part = malloc(n + 1); /* of just that size */
        memcpy(part, packed.data, n);
        if (certpack_take(&copy, part, n) == 0) { /* cut between two pairs */
            certs_destroy(copy);
        }
        free(part);
    }
    assert_int_equal(certpack_take(&copy, packed.data, packed.len), 0);
    assert_true(certs_same(c, copy));
    assert_int_equal(certs_sets(c), certs_sets(copy));
    assert_int_equal(certs_find(c, "y.site.example"), certs_find(copy, "y.site.example"));
    assert_int_equal(EVP_PKEY_eq(certs_pair(c, 0)->key, certs_pair(copy, 0)->key), 1);
    certs_destroy(copy);
    certs_destroy(c);
    buf_finish(&packed);
}

/* What else may lie there */

static void test_junk_costs_little(void **state)
{
    (void)state;
    run("mkdir junk; cd junk; for i in $(seq 5000); do : >file$i; done; mkfifo fifo.pem; ln -s . loop; ln -s .. up; "
        "ln -s self self; ln -s /nowhere gone.pem; head -c 3000000 /dev/zero >huge.pem; mkdir -p 1/2/3/4/5/6/7; "
        "printf -- '-----BEGIN CERTIFICATE-----\\n' >begun.pem");
    make("junk/1/2/3", "zz", EC, "DNS:site.example");
    struct certs *c = load("junk", NULL, NULL, NULL);
    serves_file(c, "site.example", "junk/1/2/3/zz.crt"); /* though there are more files than we look at */
    warns("'junk/begun.pem' cannot be used");
    warns("more files in junk than cwsgi looks at");
    certs_destroy(c);
}

static void test_of_too_many_keys_the_newest_are_read(void **state)
{
    (void)state;
    make(".", "old", EC, "DNS:old.example");
    make(".", "zz", EC, "DNS:site.example");
    run("for i in $(seq 501); do cat old.key; done >all.key; touch -d yesterday all.key old.*");
    struct certs *c = load(".", NULL, NULL, NULL);
    serves_file(c, "site.example", "./zz.crt");
    warns("more files in . than cwsgi looks at, and old ones are left out");
    certs_destroy(c);
}

/* As in a folder to which a host adds a pair, the issuer with it, at each renewal. */
static void test_many_pairs_of_one_issuer_cost_little(void **state)
{
    (void)state;
    make_chain();
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%03d.crt", i);
        redate("leaf.crt", "middle.key", name, -(200 - i) * 3600L, 9 * DAY);
    }
    run("for f in ???.crt; do cat middle.crt >>$f; done; rm leaf.crt root.* middle.*");
    verified = compared = 0;
    struct certs *c = load(".", NULL, NULL, NULL);
    serves_file(c, "leaf.example", "./099.crt");
    assert_int_equal(chain_len(c), 1);
    assert_in_range(verified, 1, 2); /* not for each pair, nor for each copy of the issuer */
    assert_in_range(compared, 100, 250);
    certs_destroy(c);
}

static void test_names_of_files_forge_no_lines(void **state)
{
    (void)state;
    make(".", "a", EC, "DNS:a.example");
    run("mv a.crt 'a\n[INFO] b.crt'");
    struct certs *c = load(".", NULL, NULL, NULL);
    struct buf text = {0};
    assert_int_equal(certs_describe(c, 0, time(NULL), &text), 0);
    assert_non_null(strstr(buf_cstr(&text), "./a\\x0a[INFO] b.crt with ./a.key"));
    assert_null(strchr(text.data, '\n'));
    buf_finish(&text);
    certs_destroy(c);
}

static void test_print_tells_any_change(void **state)
{
    (void)state;
    const struct certload from = {.certfile = "d", .keyfile = "missing"};
    uint64_t before = certload_print(&from), now;
    static const char *const CHANGES[] = {"mkdir d",
                                          "touch d/a",
                                          "echo x >d/a",
                                          "mkdir d/sub",
                                          "touch d/sub/b",
                                          "touch -d yesterday d/sub/b",
                                          "chmod 600 d/sub/b",
                                          "mv d/a d/c",
                                          "rm d/sub/b",
                                          "ln -s c d/l",
                                          "cp d/c x && mv x d/c",
                                          "touch missing"};
    for (size_t i = 0; i < sizeof(CHANGES) / sizeof(CHANGES[0]); i++) {
        assert_true(certload_print(&from) == before);
        run("%s", CHANGES[i]);
        now = certload_print(&from);
        if (now == before) {
            fail_msg("not seen: %s", CHANGES[i]);
        }
        before = now;
    }
}

static int finish(void **state)
{
    buf_finish(&warnings);
    buf_finish(&error);
    return remove_files(state);
}

int main(void)
{
#define OWN(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes_with_files_are_told_apart),
        cmocka_unit_test(test_unreadable_file_is_named),
        cmocka_unit_test(test_good_files_of_every_kind_are_taken_without_a_word),
        cmocka_unit_test(test_certificate_out_of_its_time_is_served_with_a_warning),
        cmocka_unit_test(test_home_folder_is_known),
        OWN(test_chain_is_completed_from_the_folder),
        OWN(test_chain_that_is_out_of_order_or_incomplete_is_served_with_a_warning),
        OWN(test_newest_pair_that_is_valid_serves),
        OWN(test_of_equal_dates_the_newest_file_serves),
        OWN(test_each_name_has_its_certificate),
        OWN(test_cert_host_may_be_spelt_in_any_case_and_with_its_dot),
        OWN(test_newer_wildcard_is_preferred_to_an_older_name),
        OWN(test_rsa_and_ecdsa_stand_side_by_side),
        OWN(test_authorities_and_certificates_of_people_serve_nobody),
        OWN(test_renewed_with_the_same_key_is_no_authority),
        OWN(test_newer_certificate_without_its_key_is_told),
        OWN(test_what_serves_stays_when_its_files_go),
        OWN(test_file_that_holds_another_pair_is_believed),
        OWN(test_expired_pair_takes_nothing_over_from_memory),
        OWN(test_older_pair_takes_over_only_when_the_newer_one_was_deleted),
        OWN(test_reload_forgets_what_was_deleted_but_not_what_is_half_written),
        OWN(test_file_named_just_so_that_holds_an_expired_pair_does_not_replace_the_valid_one),
        OWN(test_both_kinds_of_key_of_one_file_stay_in_memory),
        OWN(test_packed_store_serves_the_same),
        OWN(test_junk_costs_little),
        OWN(test_many_pairs_of_one_issuer_cost_little),
        OWN(test_of_too_many_keys_the_newest_are_read),
        OWN(test_names_of_files_forge_no_lines),
        OWN(test_print_tells_any_change),
    };
    return cmocka_run_group_tests(tests, make_files, finish);
}

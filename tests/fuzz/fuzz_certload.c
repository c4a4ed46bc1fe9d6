/* fuzz_certload.c - a folder with anything in it, as the place of certificates and keys: it is refused with a sentence,
 * or what serves is whole, each name by a pair that covers it, and workers get the same. */
#include <ctype.h>
#include <fcntl.h>
#include <ftw.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/net/certload.h"
#include "server/net/certpack.h"
#include "server/net/certs.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/script.h"

#define DAY 86400
#define ENTRIES_MAX 20

enum { N_KEYS = 5, N_CERTS = 10 };

static char root[] = "/tmp/fuzz-certload-XXXXXX";
static struct buf certs_pem[N_CERTS], keys_pem[N_KEYS], locked_pem;
static time_t now;
static int home; /* where the fuzzer wants to be between two inputs */

/* What files are made of */

static void to_buf(BIO *bio, struct buf *out)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    CHECK(buf_append(out, data, (size_t)len) == 0, "memory");
    BIO_free(bio);
}

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    CHECK(e && X509_add_ext(cert, e, -1), "extension");
    X509_EXTENSION_free(e);
}

/* Days from now; `issuer` NULL: itself. */
static X509 *make(int i, const char *common, const char *names, EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key,
                  long from, long to)
{
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common, -1, -1, 0);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), i + 1);
    X509_set_issuer_name(cert, X509_get_subject_name(issuer ? issuer : cert));
    X509_gmtime_adj(X509_getm_notBefore(cert), from * DAY);
    X509_gmtime_adj(X509_getm_notAfter(cert), to * DAY);
    X509_set_pubkey(cert, key);
    extend(cert, issuer ? issuer : cert, names ? NID_subject_alt_name : NID_basic_constraints,
           names ? names : "critical,CA:TRUE");
    CHECK(X509_sign(cert, issuer ? issuer_key : key, EVP_sha256()) > 0, "sign");
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, cert);
    to_buf(bio, &certs_pem[i]);
    return cert;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    EVP_PKEY *key[N_KEYS];
    for (int i = 0; i < N_KEYS; i++) {
        key[i] = i == 1 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
        BIO *bio = BIO_new(BIO_s_mem());
        PEM_write_bio_PrivateKey(bio, key[i], NULL, NULL, 0, NULL, NULL);
        to_buf(bio, &keys_pem[i]);
    }
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS8PrivateKey(bio, key[0], EVP_aes_128_cbc(), "x", 1, NULL, NULL);
    to_buf(bio, &locked_pem);

    X509 *c[N_CERTS];
    c[0] = make(0, "a", "DNS:a.example,DNS:www.a.example", key[0], NULL, NULL, -9, 9);
    c[1] = make(1, "a", "DNS:a.example", key[1], NULL, NULL, -8, 8);
    c[2] = make(2, "b", "DNS:*.example,DNS:b.example", key[2], NULL, NULL, -7, 7);
    c[3] = make(3, "old", "DNS:a.example", key[0], NULL, NULL, -9, -1);
    c[4] = make(4, "early", "DNS:a.example", key[0], NULL, NULL, 1, 9);
    c[5] = make(5, "A Root", NULL, key[3], NULL, NULL, -9, 99);
    c[6] = make(6, "A Middle", NULL, key[4], c[5], key[3], -9, 99);
    c[7] = make(7, "leaf", "DNS:leaf.example,IP:127.0.0.1", key[0], c[6], key[4], -6, 6);
    c[8] = make(8, "A Root", NULL, key[4], NULL, NULL, -9, 99); /* the same name, another key */
    c[9] = make(9, "A Middle", NULL, key[4], c[8], key[4], -1, 99);
    for (int i = 0; i < N_CERTS; i++) {
        X509_free(c[i]);
    }
    for (int i = 0; i < N_KEYS; i++) {
        EVP_PKEY_free(key[i]);
    }
    now = time(NULL);
    setenv("SSL_CERT_FILE", "/dev/null", 1); /* the machine's own roots take long to read, and differ */
    setenv("SSL_CERT_DIR", "/nowhere", 1);
    home = open(".", O_PATH | O_DIRECTORY);
    CHECK(home >= 0 && mkdtemp(root), "folder");
    return 0;
}

/* A folder from the input */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

/* A path that stays in the folder. */
static void make_path(struct str text, char *path, size_t size)
{
    size_t n = (size_t)snprintf(path, size, "d/");
    for (size_t i = 0; i < text.len && i < 20 && n + 2 < size; i++) {
        char c = text.p[i];
        bool good = isalnum((unsigned char)c) || strchr("/_-*[\n ", c) || (c == '.' && i > 0 && text.p[i - 1] != '.');
        if (c && good) {
            path[n++] = c;
        }
    }
    path[n] = '\0';
}

static void make_content(struct str codes, struct buf *out)
{
    size_t begin = 0; /* of the last block */
    for (size_t i = 0; i < codes.len; i++) {
        char c = codes.p[i];
        size_t before = out->len;
        int r = 0;
        if (c >= 'A' && c < 'A' + N_CERTS) {
            r = buf_append(out, certs_pem[c - 'A'].data, certs_pem[c - 'A'].len);
        } else if (c >= 'a' && c < 'a' + N_KEYS) {
            r = buf_append(out, keys_pem[c - 'a'].data, keys_pem[c - 'a'].len);
        } else if (c == '!') {
            r = buf_append(out, locked_pem.data, locked_pem.len);
        } else if (c == '<') {
            out->len -= (out->len - begin) / 2;
        } else if (c == '~' && out->len > begin) {
            out->data[begin + (out->len - begin) * 2 / 3] ^= 1;
        } else if (c == '|') {
            r = buf_puts(out, "\n");
        } else {
            r = buf_append(out, &c, 1);
        }
        CHECK(r == 0, "memory");
        begin = out->len > before ? before : begin;
    }
}

static void make_entry(struct str line)
{
    char path[100], target[100];
    const char *space = memchr(line.p + 1, ' ', line.len - 1);
    struct str name = {line.p + 1, (space ? (size_t)(space - line.p) : line.len) - 1};
    struct str rest = {space ? space + 1 : NULL, space ? line.len - name.len - 2 : 0};
    make_path(name, path, sizeof(path));
    switch (line.p[0]) {
    case 'd':
        mkdir(path, 0755);
        break;
    case 'l':
        make_path(rest, target, sizeof(target));
        if (symlink(target + 2 + strspn(target + 2, "/"), path) < 0) { /* not to "/": the machine's files change */
            break;                                                     /* there is something already */
        }
        break;
    case 'p':
        mkfifo(path, 0644);
        break;
    default: {
        struct buf content = {0};
        make_content(rest, &content);
        FILE *f = fopen(path, "wx");
        if (f) {
            fwrite(content.data, 1, content.len, f);
            fclose(f);
        }
        buf_finish(&content);
    }
    }
}

/* What must be true */

static void check_pair(const struct certs *c, size_t i)
{
    const struct certpair *p = certs_pair(c, i);
    struct buf text = {0};
    CHECK(X509_check_private_key(p->cert, p->key) == 1, "pair %zu", i);
    CHECK(p->n_names > 0 && p->cert_path[0] && p->key_path[0], "pair %zu", i);
    CHECK(certs_describe(c, i, now, &text) == 0 && buf_cstr(&text), "memory");
    for (size_t k = 0; k < text.len; k++) {
        CHECK(!iscntrl((unsigned char)text.data[k]), "%s", text.data);
    }
    buf_finish(&text);
    X509 *below = p->cert;
    for (int k = 0; p->chain && k < sk_X509_num(p->chain); k++) {
        X509 *issuer = sk_X509_value(p->chain, k);
        CHECK(X509_verify(below, X509_get0_pubkey(issuer)) == 1, "chain of pair %zu", i);
        below = issuer;
    }
}

/* OpenSSL's own opinion of who covers a name. */
static void check_names(const struct certs *c, const struct certpair *p)
{
    for (size_t i = 0; i < p->n_names; i++) {
        const char *name = p->names[i];
        if (!*name || *name == '*' || strchr(name, '*') || !isalpha((unsigned char)*name)) {
            continue; /* what clients do not ask for */
        }
        const struct certset *set = certs_set(c, certs_find(c, name));
        CHECK(certs_covers(c, name), "%s", name);
        for (size_t k = 0; k < set->n; k++) {
            const struct certpair *q = certs_pair(c, set->pair[k]);
            bool has = false;
            for (size_t m = 0; m < q->n_names && !has; m++) {
                has = strcmp(q->names[m], name) == 0 || q->names[m][0] == '*';
            }
            CHECK(has, "%s", name);
        }
    }
}

static void check_store(const struct certs *c)
{
    CHECK(certs_count(c) > 0 && certs_sets(c) > 0, "empty");
    for (size_t i = 0; i < certs_sets(c); i++) {
        const struct certset *set = certs_set(c, i);
        CHECK(set->n > 0, "empty");
        for (size_t k = 1; k < set->n; k++) {
            CHECK(certs_pair(c, set->pair[k])->type != certs_pair(c, set->pair[k - 1])->type, "set %zu", i);
        }
    }
    for (size_t i = 0; i < certs_count(c); i++) {
        check_pair(c, i);
        check_names(c, certs_pair(c, i));
    }
    struct buf packed = {0};
    struct certs *copy;
    CHECK(certpack_put(c, &packed) == 0, "memory");
    CHECK(certpack_take(&copy, packed.data, packed.len) == 0 && certs_same(c, copy), "the workers' is another");
    CHECK(certs_sets(c) == certs_sets(copy), "sets");
    certs_destroy(copy);
    buf_finish(&packed);
}

static struct certs *load(const struct certload *from, const struct certs *before)
{
    struct certloaded loaded;
    struct buf warnings = {0}, error = {0};
    int r = certload(&loaded, from, before, now, &warnings, &error);
    CHECK((r == 0) == (loaded.certs != NULL) && (r == 0) == (error.len == 0), "%d", r);
    CHECK(ERR_peek_error() == 0, "left an error behind");
    for (size_t i = 0; i < error.len; i++) {
        CHECK(!iscntrl((unsigned char)error.data[i]), "%s", buf_cstr(&error));
    }
    for (size_t i = 0; i < warnings.len; i++) {
        CHECK(!iscntrl((unsigned char)warnings.data[i]) || warnings.data[i] == '\n', "%s", buf_cstr(&warnings));
    }
    CHECK(warnings.len == 0 || warnings.data[warnings.len - 1] == '\n', "%s", buf_cstr(&warnings));
    CHECK(loaded.next == 0 || loaded.next > now, "the past is to come");
    if (loaded.certs) {
        check_store(loaded.certs);
    }
    buf_finish(&warnings);
    buf_finish(&error);
    return loaded.certs;
}

/* Bytes that no master has written. */
static void check_unpack(struct str bytes)
{
    struct certs *c;
    struct buf text = {0};
    int r = buf_puts(&text, "cwsgi-certs 1\n") | buf_append(&text, bytes.p, bytes.len);
    CHECK(r == 0, "memory");
    if (certpack_take(&c, text.data, text.len) == 0) {
        certs_destroy(c);
    }
    buf_finish(&text);
}

/* First line: where certificates are; where keys are; which host. Each further line is an entry of the folder. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const CERTS[] = {"d", "d/0", "d/*", "d/*.crt", "./d/s"}, *const KEYS[] = {NULL, "d", "d/1",
                                                                                                 "d/k*"};
    static const char *const HOSTS[] = {NULL, "a.example", "x.example", "nobody"};
    struct script s = script_of(data, len);
    if (s.line.len == 0) {
        check_unpack(s.rest);
        return 0;
    }
    const struct certload from = {.certfile = CERTS[script_at(&s, 0) % 5],
                                  .keyfile = KEYS[script_at(&s, 1) % 4],
                                  .host = HOSTS[script_at(&s, 2) % 4]};
    CHECK(chdir(root) == 0 && mkdir("d", 0755) == 0, "folder");
    struct str text = s.rest, line;
    for (int i = 0; i < ENTRIES_MAX && text.len > 0; i++) {
        line = script_next_line(&text);
        if (line.len > 1) {
            make_entry(line);
        }
    }
    uint64_t print = certload_print(&from);
    struct certs *first = load(&from, NULL);
    struct certs *again = load(&from, first);
    CHECK((first != NULL) == (again != NULL) && (!first || certs_same(first, again)), "another time, another choice");
    CHECK(print == certload_print(&from), "nothing has changed");
    remove("d/0");
    struct certs *after = load(&from, first);
    CHECK(nftw("d", remove_one, 10, FTW_DEPTH | FTW_PHYS) == 0, "folder");
    struct certs *none = load(&from, first);
    CHECK(fchdir(home) == 0, "folder");
    CHECK(!none, "from nothing");
    certs_destroy(after);
    certs_destroy(again);
    certs_destroy(first);
    return 0;
}

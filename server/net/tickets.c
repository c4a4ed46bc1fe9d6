/* tickets.c - the keys of session tickets, in a page that all workers share. */
#include "server/net/tickets.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/memfile.h"

#define LIFE_S (12 * 60 * 60) /* a key encrypts for so long, and a session is good for so long */
#define LOOK_US (60 * UINT64_C(1000000))
#define KEYS_MAX 8
#define KEYS_MADE 3 /* a ticket of the oldest is at least LIFE_S old, so nothing that is good is thrown away */
#define TRIES 1000  /* to read a page that is being written */

struct key {
    unsigned char name[16], cipher[32], mac[32];
};

struct page {
    _Atomic uint32_t version; /* odd while it is written */
    uint32_t n;
    uint64_t made_us; /* the first key */
    struct key keys[KEYS_MAX];
};

struct tickets {
    struct page *page;
    int fd;
    const char *file;
    struct timespec file_time; /* of what was read */
    uint64_t look_us;          /* at the file */
    bool told;                 /* that it cannot be read */
    EVP_CIPHER *cipher;        /* owned; fetched once, since that is dear */
};

static struct page *map(int fd)
{
    struct page *p = mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        return NULL;
    }
    madvise(p, sizeof(*p), MADV_DONTDUMP);
    return p;
}

/* The master is alone in writing; whoever reads meanwhile sees an odd version, or another one afterwards. */
static void write_keys(struct page *p, const struct key *keys, uint32_t n)
{
    uint32_t version = atomic_load_explicit(&p->version, memory_order_relaxed);
    atomic_store_explicit(&p->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy(p->keys, keys, n * sizeof(*keys));
    OPENSSL_cleanse(p->keys + n, (KEYS_MAX - n) * sizeof(*keys));
    p->n = n;
    p->made_us = clock_mono_us();
    atomic_store_explicit(&p->version, version + 2, memory_order_release);
}

static uint32_t read_keys(const struct page *p, struct key *keys)
{
    for (int i = 0; i < TRIES; i++) {
        uint32_t before = atomic_load_explicit(&p->version, memory_order_acquire);
        uint32_t n = p->n;
        if (before % 2 == 0 && n <= KEYS_MAX) {
            memcpy(keys, p->keys, n * sizeof(*keys));
            atomic_thread_fence(memory_order_acquire);
            if (atomic_load_explicit(&p->version, memory_order_relaxed) == before) {
                return n;
            }
        }
    }
    return 0; /* no ticket then: a handshake in full does no harm */
}

/* A new key in front of those that may still be wanted. 0 or -EIO. */
static int make_key(struct page *p)
{
    struct key keys[KEYS_MADE];
    uint32_t n = p->n < KEYS_MADE ? p->n : KEYS_MADE - 1;
    memcpy(keys + 1, p->keys, n * sizeof(*keys));
    if (RAND_bytes((unsigned char *)keys, sizeof(*keys)) != 1) {
        return -EIO;
    }
    write_keys(p, keys, n + 1);
    OPENSSL_cleanse(keys, sizeof(keys));
    return 0;
}

/* A line of the file. 1: a key, 0: nothing, -1: neither. */
static int parse_key(const char *line, struct key *key)
{
    size_t len = strcspn(line, "\r\n"), got = 0;
    if (len == 0 || line[0] == '#') {
        return 0;
    }
    char digits[2 * sizeof(*key) + 1];
    if (len != sizeof(digits) - 1) {
        return -1;
    }
    memcpy(digits, line, len);
    digits[len] = '\0';
    int ok = OPENSSL_hexstr2buf_ex((unsigned char *)key, sizeof(*key), &got, digits, '\0');
    OPENSSL_cleanse(digits, sizeof(digits));
    return ok == 1 && got == sizeof(*key) ? 1 : -1;
}

static int read_lines(FILE *f, struct key *keys, uint32_t *n, const char *path, struct buf *error)
{
    char line[256];
    int number = 0;
    while (fgets(line, sizeof(line), f)) {
        struct key key;
        int r = parse_key(line, &key);
        number++;
        if (r < 0 || (r > 0 && *n == KEYS_MAX)) {
            buf_printf(error, "ssl_ticket_keys '%s', line %d: %s", path, number,
                       r < 0 ? "not 160 hexadecimal digits, as `openssl rand -hex 80` makes them" : "too many keys");
            return -1;
        }
        if (r > 0) {
            keys[(*n)++] = key;
        }
    }
    if (ferror(f) || *n == 0) {
        buf_printf(error, "ssl_ticket_keys '%s' %s", path, ferror(f) ? "cannot be read" : "holds no key");
        return -1;
    }
    return 0;
}

static int read_file(struct tickets *t, struct buf *error)
{
    struct key keys[KEYS_MAX];
    struct stat st;
    uint32_t n = 0;
    FILE *f = fopen(t->file, "re");
    if (!f || fstat(fileno(f), &st) < 0) {
        buf_printf(error, "ssl_ticket_keys '%s' cannot be read: %s", t->file, strerror(errno));
        if (f) {
            fclose(f);
        }
        return -1;
    }
    int r = read_lines(f, keys, &n, t->file, error);
    fclose(f);
    if (r == 0) {
        write_keys(t->page, keys, n);
        t->file_time = st.st_mtim;
    }
    OPENSSL_cleanse(keys, sizeof(keys));
    return r;
}

/* The page of the image before, if it is one. */
static bool adopt(struct tickets *t, int fd)
{
    struct stat st;
    if (fd < 0) {
        return false;
    }
    if (fstat(fd, &st) < 0 || st.st_size != sizeof(struct page) || !(t->page = map(fd))) {
        close(fd);
        return false;
    }
    t->fd = fd;
    return true;
}

static int make_page(struct tickets *t)
{
    t->fd = memfile_create("cwsgi-tickets", sizeof(struct page));
    if (t->fd < 0) {
        return t->fd;
    }
    t->page = map(t->fd);
    return t->page ? make_key(t->page) : -errno;
}

int tickets_create(struct tickets **out, const char *file, int fd, struct buf *error)
{
    struct tickets *t = calloc(1, sizeof(*t));
    if (!t) {
        buf_puts(error, "out of memory");
        return -1;
    }
    *t = (struct tickets){.fd = -1, .file = file, .look_us = clock_mono_us() + LOOK_US};
    t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    int r = t->cipher ? 0 : -ENOMEM;
    if (r == 0 && !adopt(t, fd)) {
        r = make_page(t);
    }
    if (r < 0) {
        buf_printf(error, "the keys of session tickets cannot be made: %s", strerror(-r));
    } else if (file) {
        assert(t->page);
        r = read_file(t, error);
    }
    if (r < 0) {
        tickets_destroy(t);
        return -1;
    }
    *out = t;
    return 0;
}

void tickets_destroy(struct tickets *t)
{
    if (!t) {
        return;
    }
    if (t->page) {
        munmap(t->page, sizeof(*t->page));
    }
    if (t->fd >= 0) {
        close(t->fd);
    }
    EVP_CIPHER_free(t->cipher);
    free(t);
}

int tickets_fd(const struct tickets *t)
{
    return t->fd;
}

uint64_t tickets_deadline(const struct tickets *t)
{
    if (!t) {
        return 0;
    }
    return t->file ? t->look_us : t->page->made_us + LIFE_S * UINT64_C(1000000);
}

static void look_at_file(struct tickets *t)
{
    struct stat st;
    struct buf error = {0};
    if (stat(t->file, &st) == 0 && st.st_mtim.tv_sec == t->file_time.tv_sec &&
        st.st_mtim.tv_nsec == t->file_time.tv_nsec) {
        return;
    }
    if (read_file(t, &error) == 0) {
        log_info("Session tickets: the keys in %s have changed and are used from now on", t->file);
        t->told = false;
    } else if (!t->told) {
        log_warning("Session tickets: %s; the keys from before stay", buf_cstr(&error));
        t->told = true;
    }
    buf_finish(&error);
}

void tickets_turn(struct tickets *t, uint64_t now)
{
    if (!t || now < tickets_deadline(t)) {
        return;
    }
    if (t->file) {
        t->look_us = now + LOOK_US;
        look_at_file(t);
    } else if (make_key(t->page) < 0) {
        t->page->made_us = now; /* the old one goes on for another while */
        log_warning("Session tickets: no new key can be made; the old one stays");
    }
}

/* RFC 5077 4's recommended form: AES-256-CBC, then HMAC-SHA-256 over name, IV and ciphertext, which OpenSSL does. */
static bool set_up(struct tickets *t, const struct key *key, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                   EVP_MAC_CTX *mac, int encrypt)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CIPHER_CTX_reset(cipher) && EVP_CipherInit_ex2(cipher, t->cipher, key->cipher, iv, encrypt, NULL) &&
           EVP_MAC_CTX_set_params(mac, params);
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): -1 error, 0 no key, 1 used, 2 used, and the client needs another ticket:
 * because the key is old, or because it uses each once, as clients of TLS 1.3 should (RFC 8446 C.4). */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                     int encrypt)
{
    struct tickets *t = SSL_get_app_data(ssl);
    struct key keys[KEYS_MAX];
    uint32_t n = read_keys(t->page, keys);
    bool once = SSL_version(ssl) >= TLS1_3_VERSION;
    int result = 0;
    if (encrypt && n > 0) {
        memcpy(name, keys[0].name, sizeof(keys[0].name));
        bool ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(t->cipher)) == 1 && set_up(t, &keys[0], iv, cipher, mac, 1);
        result = ok ? 1 : -1;
    }
    for (uint32_t i = 0; !encrypt && i < n && result == 0; i++) {
        if (CRYPTO_memcmp(name, keys[i].name, sizeof(keys[i].name)) == 0) {
            result = set_up(t, &keys[i], iv, cipher, mac, 0) ? 1 + (i > 0 || once) : -1;
        }
    }
    OPENSSL_cleanse(keys, sizeof(keys));
    return result;
}

int tickets_plug(SSL_CTX *ssl)
{
    SSL_CTX_set_timeout(ssl, LIFE_S);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket) == 1 ? 0 : -ENOMEM;
}

void tickets_attach(struct tickets *t, SSL *ssl)
{
    SSL_set_app_data(ssl, t);
}

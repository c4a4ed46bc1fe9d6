/* staples.c - OCSP answers that are sent with certificates, in a page that all workers share. */
#include "server/net/staples.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "server/net/ocsp.h"

#define STAPLES_MAX 16
#define ID_SIZE 32 /* SHA-256 */

struct staple {
    _Atomic uint32_t version; /* odd while it is written */
    uint32_t len;             /* 0: free */
    time_t fresh_until;
    unsigned char id[ID_SIZE], answer[OCSP_MAX];
};

struct staples {
    struct staple list[STAPLES_MAX];
};

int staples_create(struct staples **out)
{
    void *page = mmap(NULL, sizeof(struct staples), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return -errno;
    }
    *out = page;
    return 0;
}

void staples_destroy(struct staples *s)
{
    if (s) {
        munmap(s, sizeof(*s));
    }
}

static bool identify(const X509 *cert, unsigned char *id)
{
    unsigned len = 0;
    return X509_digest(cert, EVP_sha256(), id, &len) == 1 && len == ID_SIZE;
}

/* The place of this certificate, else a free one, else the one that was fresh least long; only the master asks. */
static struct staple *place_for(struct staples *s, const unsigned char *id)
{
    struct staple *best = &s->list[0];
    for (size_t i = 0; i < STAPLES_MAX; i++) {
        struct staple *e = &s->list[i];
        if (e->len > 0 && memcmp(e->id, id, ID_SIZE) == 0) {
            return e;
        }
        if (best->len > 0 && (e->len == 0 || e->fresh_until < best->fresh_until)) {
            best = e;
        }
    }
    return best;
}

void staples_put(struct staples *s, const X509 *cert, const void *answer, size_t len, time_t fresh_until)
{
    unsigned char id[ID_SIZE];
    if (len > OCSP_MAX || !identify(cert, id)) {
        return;
    }
    struct staple *e = place_for(s, id);
    uint32_t version = atomic_load_explicit(&e->version, memory_order_relaxed);
    atomic_store_explicit(&e->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy(e->id, id, ID_SIZE);
    memcpy(e->answer, answer, len);
    e->len = (uint32_t)len;
    e->fresh_until = fresh_until;
    atomic_store_explicit(&e->version, version + 2, memory_order_release);
}

/* A copy of the answer, for OPENSSL_free(); NULL: none, or it is being replaced: then the client asks by itself. */
static unsigned char *find(const struct staples *s, const unsigned char *id, size_t *len)
{
    for (size_t i = 0; i < STAPLES_MAX; i++) {
        const struct staple *e = &s->list[i];
        uint32_t before = atomic_load_explicit(&e->version, memory_order_acquire);
        *len = e->len;
        if (before % 2 == 1 || *len == 0 || *len > OCSP_MAX || memcmp(e->id, id, ID_SIZE) != 0) {
            continue;
        }
        bool fresh = e->fresh_until > time(NULL);
        unsigned char *copy = fresh ? OPENSSL_memdup(e->answer, *len) : NULL;
        atomic_thread_fence(memory_order_acquire);
        if (copy && atomic_load_explicit(&e->version, memory_order_relaxed) == before) {
            return copy;
        }
        OPENSSL_free(copy);
        return NULL;
    }
    return NULL;
}

static int on_status_request(SSL *ssl, void *arg)
{
    unsigned char id[ID_SIZE];
    size_t len = 0;
    const X509 *cert = SSL_get_certificate(ssl);
    unsigned char *answer = cert && identify(cert, id) ? find(arg, id, &len) : NULL;
    if (!answer) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    SSL_set_tlsext_status_ocsp_resp(ssl, answer, (int)len); /* takes it over */
    return SSL_TLSEXT_ERR_OK;
}

int staples_plug(struct staples *s, SSL_CTX *ssl)
{
    return SSL_CTX_set_tlsext_status_cb(ssl, on_status_request) && SSL_CTX_set_tlsext_status_arg(ssl, s) ? 0 : -ENOMEM;
}

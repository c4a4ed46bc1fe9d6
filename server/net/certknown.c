/* certknown.c - the certificates that were found, each once, and those of the machine. */
#include "server/net/certknown.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

int certknown_add(struct certknown *k, X509 *cert)
{
    size_t low = 0, high = k->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = X509_cmp(k->list[middle], cert);
        if (order == 0) {
            return 0;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    X509 **more = reallocarray(k->list, k->n + 1, sizeof(X509 *));
    if (!more) {
        return -ENOMEM;
    }
    k->list = more;
    memmove(more + low + 1, more + low, (k->n - low) * sizeof(X509 *));
    more[low] = cert;
    k->n++;
    return 1;
}

void certknown_finish(struct certknown *k)
{
    free(k->list);
    X509_STORE_free(k->roots);
    *k = (struct certknown){0};
}

bool certknown_has_issuer(struct certknown *k, X509 *cert)
{
    for (size_t i = 0; i < k->n; i++) {
        if (X509_check_issued(k->list[i], cert) == X509_V_OK) {
            return true;
        }
    }
    if (!k->roots && (k->roots = X509_STORE_new())) {
        X509_STORE_set_default_paths(k->roots);
    }
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    X509 *issuer = NULL;
    bool found = k->roots && ctx && X509_STORE_CTX_init(ctx, k->roots, cert, NULL) == 1 &&
                 X509_STORE_CTX_get1_issuer(&issuer, ctx, cert) == 1;
    X509_free(issuer);
    X509_STORE_CTX_free(ctx);
    ERR_clear_error();
    return found;
}

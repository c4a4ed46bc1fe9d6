/* certknown.h - the certificates that were found, each once, and those of the machine: who has signed whom?
 * Many files bring the same issuer along. To verify its signature for each copy would take seconds. One thread. */
#pragma once

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

struct certknown { /* zeroed: none */
    X509 **list;   /* owned, but each is borrowed; in an order of its own */
    size_t n;
    X509_STORE *roots; /* owned; the machine's; NULL until they are asked for, which takes some time */
};

int certknown_add(struct certknown *k, X509 *cert); /* 1; 0: it is there, or a copy of it; -ENOMEM */
void certknown_finish(struct certknown *k);

/* Whether somebody knows who signed it; a root need not be sent. */
bool certknown_has_issuer(struct certknown *k, X509 *cert);

/* pemfile.h - what a file in PEM format holds: certificates and private keys.
 * Never blocks and never reads much: what is no plain file, or too large for one, is not read. Any thread. */
#pragma once

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

#define PEMFILE_MAX (1024 * 1024) /* bytes; a bundle of all the world's roots has a fifth of it */

struct pemfile {  /* zeroed: nothing in it */
    X509 **certs; /* owned, each; in the order of the file */
    size_t n_certs;
    EVP_PKEY **keys; /* owned, each */
    size_t n_keys;
    bool locked;            /* a key that is encrypted with a passphrase is in it */
    bool der;               /* no PEM, but it begins like DER or PKCS#12 */
    const char *cert_fault; /* why a certificate in it cannot be read; static text, NULL: none */
    const char *key_fault;  /* the same for a key */
};

/* 0 or -errno; -ENOTSUP: not a plain file; -EFBIG. pemfile_finish is due in both cases. */
int pemfile_read(struct pemfile *f, const char *path);
int pemfile_parse(struct pemfile *f, const void *data, size_t len); /* 0 or -ENOMEM */
void pemfile_finish(struct pemfile *f);

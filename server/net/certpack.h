/* certpack.h - the certificate store as bytes, private keys included: from the master to its workers. Pure. */
#pragma once

#include <stddef.h>

struct buf;
struct certs;

int certpack_put(const struct certs *c, struct buf *out); /* behind what is there; 0 or -ENOMEM */

/* 0, -ENOMEM, or -EINVAL: the bytes make no sense. */
int certpack_take(struct certs **out, const void *data, size_t len);

/* fnv.h - FNV-1a, a hash of bytes that is quick to make: to tell contents apart, not against somebody's will. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FNV_START UINT64_C(14695981039346656037)

/* The hash of what `hash` was made from, and these bytes behind it. */
static inline uint64_t fnv_add(uint64_t hash, const void *data, size_t len)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ p[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

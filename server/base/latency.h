/* latency.h - how long things took, counted in log-linear buckets: eight to each power of two of microseconds.
 * A bucket is an eighth of its power of two wide, so what is read from them is off by an eighth at most. Writers only
 * count; who reads computes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LATENCY_STEPS 8                              /* buckets to a power of two, itself one */
#define LATENCY_BUCKETS ((size_t)30 * LATENCY_STEPS) /* the last ends at 2^32 us, and takes all that is longer */

static inline size_t latency_bucket(uint64_t us)
{
    uint64_t capped = us < UINT32_MAX ? us : UINT32_MAX;
    unsigned shift = capped < LATENCY_STEPS ? 0 : 60U - (unsigned)__builtin_clzll(capped); /* 60 is 63 - log2(STEPS) */
    return shift * LATENCY_STEPS + (size_t)(capped >> shift);
}

uint64_t latency_floor(size_t bucket); /* us; bucket <= LATENCY_BUCKETS: where one ends, the next begins */

uint64_t latency_count(const uint64_t buckets[LATENCY_BUCKETS]);
/* The time in us that the share `q`, 0 < q <= 1, stayed below; 0 when nothing was counted. */
uint64_t latency_quantile(const uint64_t buckets[LATENCY_BUCKETS], double q);

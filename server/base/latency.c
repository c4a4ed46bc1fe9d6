/* latency.c - reads log-linear buckets. */
#include "server/base/latency.h"

uint64_t latency_floor(size_t bucket)
{
    size_t shift = bucket < LATENCY_STEPS ? 0 : bucket / LATENCY_STEPS - 1;
    return (uint64_t)(bucket - shift * LATENCY_STEPS) << shift;
}

uint64_t latency_count(const uint64_t buckets[LATENCY_BUCKETS])
{
    uint64_t n = 0;
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        n += buckets[i];
    }
    return n;
}

uint64_t latency_quantile(const uint64_t buckets[LATENCY_BUCKETS], double q)
{
    double rank = q * (double)latency_count(buckets); /* so many stay below */
    double below = 0;
    for (size_t i = 0; i < LATENCY_BUCKETS && rank > 0; i++) {
        double here = (double)buckets[i];
        if (here > 0 && below + here >= rank) {
            uint64_t floor = latency_floor(i);
            return floor + (uint64_t)((double)(latency_floor(i + 1) - floor) * (rank - below) / here);
        }
        below += here;
    }
    return 0;
}

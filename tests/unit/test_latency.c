/* test_latency.c - buckets lie side by side, and what is read from them is near the truth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/base/latency.h"

static void test_every_time_has_its_bucket(void **state)
{
    (void)state;
    for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t floor = latency_floor(i), end = latency_floor(i + 1);
        assert_true(end > floor);
        assert_int_equal(latency_bucket(floor), i);
        assert_int_equal(latency_bucket(end - 1), i);
        assert_true(i < LATENCY_STEPS || (end - floor) * LATENCY_STEPS <= floor); /* as narrow as promised */
    }
    assert_int_equal(latency_floor(0), 0);
    assert_int_equal(latency_floor(LATENCY_BUCKETS), UINT64_C(1) << 32);
    assert_int_equal(latency_bucket(UINT64_C(1) << 32), LATENCY_BUCKETS - 1);
    assert_int_equal(latency_bucket(UINT64_MAX), LATENCY_BUCKETS - 1);
}

static void test_nothing_counted_has_no_quantiles(void **state)
{
    (void)state;
    const uint64_t buckets[LATENCY_BUCKETS] = {0};
    assert_int_equal(latency_count(buckets), 0);
    assert_int_equal(latency_quantile(buckets, 0.5), 0);
    assert_int_equal(latency_quantile(buckets, 1), 0);
}

static void test_quantiles_are_off_by_an_eighth_at_most(void **state)
{
    (void)state;
    uint64_t buckets[LATENCY_BUCKETS] = {0};
    enum { N = 100000 };
    for (uint64_t i = 1; i <= N; i++) {
        buckets[latency_bucket(i)]++;
    }
    assert_int_equal(latency_count(buckets), N);
    const double shares[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
    for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
        double truth = shares[i] * N, read = (double)latency_quantile(buckets, shares[i]);
        assert_true(read >= truth * 0.875 && read <= truth * 1.125);
    }
}

static void test_the_slowest_one_in_a_thousand_is_seen(void **state)
{
    (void)state;
    uint64_t buckets[LATENCY_BUCKETS] = {0};
    buckets[latency_bucket(1000)] = 999;
    buckets[latency_bucket(5000000)] = 1;
    assert_in_range(latency_quantile(buckets, 0.5), 875, 1125);
    assert_in_range(latency_quantile(buckets, 0.99), 875, 1125);
    assert_in_range(latency_quantile(buckets, 1), 4375000, 5625000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_time_has_its_bucket),
        cmocka_unit_test(test_nothing_counted_has_no_quantiles),
        cmocka_unit_test(test_quantiles_are_off_by_an_eighth_at_most),
        cmocka_unit_test(test_the_slowest_one_in_a_thousand_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

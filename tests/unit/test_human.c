/* test_human.c - amounts and times as people read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/buf.h"
#include "server/base/human.h"

static void expect(int (*write)(struct buf *, uint64_t), uint64_t n, const char *wanted)
{
    struct buf out = {0};
    assert_int_equal(write(&out, n), 0);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_finish(&out);
}

static void test_bytes(void **state)
{
    (void)state;
    expect(human_bytes, 0, "0 B");
    expect(human_bytes, 999, "999 B");
    expect(human_bytes, 1000, "1.0 KB");
    expect(human_bytes, 1536, "1.5 KB");
    expect(human_bytes, UINT64_C(20) << 20, "20 MB");
    expect(human_bytes, UINT64_MAX, "16 EB");
}

static void test_seconds(void **state)
{
    (void)state;
    expect(human_seconds, 0, "0 s");
    expect(human_seconds, 59, "59 s");
    expect(human_seconds, 60, "1 min");
    expect(human_seconds, 125, "2 min 5 s");
    expect(human_seconds, 3600 + 59, "1 h");
    expect(human_seconds, 3 * 86400 + 4 * 3600, "3 d 4 h");
}

static void test_microseconds(void **state)
{
    (void)state;
    expect(human_us, 0, "0 us");
    expect(human_us, 999, "999 us");
    expect(human_us, 2500, "2.5 ms");
    expect(human_us, 25000, "25 ms");
    expect(human_us, 1250000, "1.25 s");
    expect(human_us, 12500000, "12.5 s");
    expect(human_us, UINT64_C(3600000000), "1 h");
}

static void test_counts(void **state)
{
    (void)state;
    expect(human_count, 0, "0");
    expect(human_count, 999, "999");
    expect(human_count, 1000, "1,000");
    expect(human_count, 1234567, "1,234,567");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_microseconds),
        cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

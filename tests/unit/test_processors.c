/* test_processors.c - what control groups allow, in a folder that looks like theirs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/processors.h"

static void put(const char *root, const char *path, const char *text)
{
    char full[300];
    for (const char *p = path; *p; p++) {
        if (*p == '/') {
            snprintf(full, sizeof(full), "%s/%.*s", root, (int)(p - path), path);
            mkdir(full, 0755);
        }
    }
    snprintf(full, sizeof(full), "%s/%s", root, path);
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int allowed(const char *root)
{
    char membership[300];
    snprintf(membership, sizeof(membership), "%s/membership", root);
    return processors_allowed(root, membership);
}

static int begin(void **state)
{
    char *root = malloc(40);
    snprintf(root, 40, "/tmp/test_processors.XXXXXX");
    *state = root;
    return mkdtemp(root) ? 0 : -1;
}

static int end(void **state)
{
    char command[80];
    snprintf(command, sizeof(command), "rm -r %s", (char *)*state);
    int r = system(command);
    free(*state);
    return r;
}

static void test_the_tightest_group_counts(void **state)
{
    put(*state, "membership", "0::/user/site/job\n");
    assert_int_equal(allowed(*state), INT_MAX);
    put(*state, "user/site/job/cpu.max", "max 100000\n");
    assert_int_equal(allowed(*state), INT_MAX);
    put(*state, "user/cpu.max", "400000 100000\n");
    assert_int_equal(allowed(*state), 4);
    put(*state, "user/site/cpu.max", "150000 100000\n");
    assert_int_equal(allowed(*state), 2);
    put(*state, "user/site/job/cpu.max", "10000 100000\n");
    assert_int_equal(allowed(*state), 1);
}

static void test_a_container_sees_its_group_at_the_top(void **state)
{
    put(*state, "membership", "0::/\n");
    put(*state, "cpu.max", "300000 100000\n");
    assert_int_equal(allowed(*state), 3);
}

static void test_first_version_of_control_groups(void **state)
{
    put(*state, "membership", "5:memory:/x\n4:cpu,cpuacct:/docker/1\n1:cpuset:/y\n0::/\n");
    put(*state, "cpu/docker/1/cpu.cfs_quota_us", "-1\n");
    put(*state, "cpu/docker/1/cpu.cfs_period_us", "100000\n");
    assert_int_equal(allowed(*state), INT_MAX);
    put(*state, "cpu/docker/1/cpu.cfs_quota_us", "250000\n");
    assert_int_equal(allowed(*state), 3);
    put(*state, "membership", "4:cpuset:/docker/1\n");
    assert_int_equal(allowed(*state), INT_MAX);
    put(*state, "membership", "4:cpuacct,cpu:/docker/1\n");
    assert_int_equal(allowed(*state), 3);
}

static void test_nonsense_is_no_limit(void **state)
{
    assert_int_equal(processors_allowed(*state, "/nowhere"), INT_MAX);
    put(*state, "membership", "what\n0::/a\n");
    put(*state, "a/cpu.max", "many few\n");
    assert_int_equal(allowed(*state), INT_MAX);
    put(*state, "a/cpu.max", "100000\n");
    assert_int_equal(allowed(*state), INT_MAX);
}

static void test_there_is_at_least_one(void **state)
{
    (void)state;
    assert_true(processors_usable() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_tightest_group_counts, begin, end),
        cmocka_unit_test_setup_teardown(test_a_container_sees_its_group_at_the_top, begin, end),
        cmocka_unit_test_setup_teardown(test_first_version_of_control_groups, begin, end),
        cmocka_unit_test_setup_teardown(test_nonsense_is_no_limit, begin, end),
        cmocka_unit_test(test_there_is_at_least_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_orders.c - how many workers the master may be told to have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/process/hooks.h"
#include "server/process/master_inside.h"
#include "server/process/orders.h"

static int told_now, told_before;

static void nworkers_changed(struct hooks *h, int now, int before)
{
    (void)h;
    told_now = now;
    told_before = before;
}

static void test_no_order_passes_the_limit_of_the_setting(void **state)
{
    (void)state;
    struct hooks hooks = {.nworkers_changed = nworkers_changed};
    struct master m = {.deps = {.hooks = &hooks}, .wanted = 4095};
    orders_resize(&m, 4096);
    assert_int_equal(m.wanted, 4096);
    assert_int_equal(told_now, 4096);
    assert_int_equal(told_before, 4095);

    told_now = 0;
    orders_resize(&m, 4097); /* one TTIN more */
    assert_int_equal(m.wanted, 4096);
    assert_int_equal(told_now, 0); /* nothing has changed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_order_passes_the_limit_of_the_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

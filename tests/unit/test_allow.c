/* test_allow.c - which hosts are in a list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "server/config/settings.h"
#include "server/net/allow.h"

#define MAX 4

/* `list`: texts with a space between them. */
static int compile(struct allow *a, const char *list)
{
    char copy[200], *v[MAX], *rest = copy;
    struct strings texts = {.v = v};
    assert_true(strlen(list) < sizeof(copy));
    strcpy(copy, list);
    for (char *text; (text = strsep(&rest, " "));) {
        if (*text) {
            assert_true(texts.n < MAX);
            v[texts.n++] = text;
        }
    }
    return allow_init(a, &texts);
}

static bool allows(const char *list, const char *address)
{
    struct allow a;
    assert_int_equal(compile(&a, list), 0);
    bool has = allow_has(&a, address);
    allow_finish(&a);
    return has;
}

static void test_a_host_is_found_by_address_or_network(void **state)
{
    (void)state;
    assert_true(allows("127.0.0.1 ::1", "127.0.0.1"));
    assert_true(allows("127.0.0.1 ::1", "::1"));
    assert_false(allows("127.0.0.1 ::1", "127.0.0.2"));
    assert_false(allows("127.0.0.1 ::1", "::2"));
    assert_true(allows("192.0.2.1 10.0.0.0/8", "10.1.2.3"));
    assert_true(allows("fd00::/8", "fdab::1"));
    assert_false(allows("fd00::/8", "fe80::1"));
}

static void test_an_empty_list_has_nobody(void **state)
{
    (void)state;
    assert_false(allows("", "127.0.0.1"));
    assert_false(allows("", "::1"));
}

static void test_a_star_has_everybody(void **state)
{
    (void)state;
    assert_true(allows("*", "203.0.113.9"));
    assert_true(allows("10.0.0.1 *", "2001:db8::1"));
}

static void test_what_is_no_address_is_not_in_it(void **state)
{
    (void)state;
    assert_false(allows("0.0.0.0/0 ::/0", ""));
    assert_false(allows("0.0.0.0/0 ::/0", "localhost"));
    assert_false(allows("0.0.0.0/0 ::/0", "10.0.0.300"));
}

static void test_ipv4_over_an_ipv6_socket_is_found_under_both_names(void **state)
{
    (void)state;
    assert_true(allows("10.0.0.7", "::ffff:10.0.0.7"));
    assert_true(allows("10.0.0.0/8", "::ffff:10.0.0.7"));
    assert_true(allows("::ffff:10.0.0.7", "::ffff:10.0.0.7"));
    assert_true(allows("::/0", "::ffff:10.0.0.7"));
    assert_false(allows("10.0.0.8", "::ffff:10.0.0.7"));
    assert_false(allows("10.0.0.7", "::10.0.0.7"));
}

static void test_ipv4_is_not_in_a_network_of_ipv6(void **state)
{
    (void)state;
    assert_false(allows("::/0", "10.0.0.7"));
    assert_false(allows("::ffff:10.0.0.7", "10.0.0.7"));
    assert_false(allows("0.0.0.0/0", "2001:db8::1"));
}

static void test_what_settings_would_refuse_is_refused(void **state)
{
    (void)state;
    struct allow a;
    assert_int_equal(compile(&a, "10.0.0.1 localhost"), -EINVAL);
    assert_int_equal(compile(&a, "10.0.0.1/8"), -EINVAL);
    assert_null(a.networks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_host_is_found_by_address_or_network),
        cmocka_unit_test(test_an_empty_list_has_nobody),
        cmocka_unit_test(test_a_star_has_everybody),
        cmocka_unit_test(test_what_is_no_address_is_not_in_it),
        cmocka_unit_test(test_ipv4_over_an_ipv6_socket_is_found_under_both_names),
        cmocka_unit_test(test_ipv4_is_not_in_a_network_of_ipv6),
        cmocka_unit_test(test_what_settings_would_refuse_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

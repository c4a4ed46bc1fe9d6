/* test_network.c - what is a network, and who is in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "server/base/network.h"

static void test_networks_are_what_pythons_ipaddress_takes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        unsigned bits;
    } rows[] = {
        {"10.0.0.7", 4, 32},
        {"10.0.0.0/8", 4, 8},
        {"10.0.0.0/08", 4, 8},
        {"10.0.0.7/32", 4, 32},
        {"0.0.0.0/0", 4, 0},
        {"128.0.0.0/1", 4, 1},
        {"10.0.0.0/255.0.0.0", 4, 8},
        {"10.0.0.0/0.255.255.255", 4, 8},
        {"10.0.0.0/255.255.255.254", 4, 31},
        {"0.0.0.0/0.0.0.0", 4, 0},
        {"10.0.0.7/255.255.255.255", 4, 32},
        {"::1", 16, 128},
        {"::/0", 16, 0},
        {"2001:DB8::/32", 16, 32},
        {"1:2:3:4:5:6:7::", 16, 128},
        {"::ffff:10.0.0.7", 16, 128},
        {"::ffff:0:0/96", 16, 96},
        {"0000:0000:0000:0000:0000:ffff:255.255.255.255", 16, 128},
        {"fe80::1%eth0", 16, 128},
        {"fe80::%eth0/64", 16, 64},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct network n;
        if (network_parse(&n, rows[i].text) != 0 || n.len != rows[i].len || n.bits != rows[i].bits) {
            fail_msg("%s", rows[i].text);
        }
    }
}

static void test_anything_else_is_none(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        "*",
        "/",
        "/8",
        "localhost",
        "10.0.0",
        "10.0.0.0.0",
        "10.0.0.256",
        "10.0.0.07",
        "10.0.0.0x7",
        " 10.0.0.7",
        "10.0.0.7 ",
        "10.0.0.7:80",
        "10.0.0.7%eth0",
        "10.0.0.0/",
        "10.0.0.0/ 8",
        "10.0.0.0/+8",
        "10.0.0.0/-8",
        "10.0.0.0/8/",
        "10.0.0.0/8/8",
        "10.0.0.0/33",
        "10.0.0.0/4294967304",
        "10.0.0.0/255.0.255.0",
        "10.0.0.0/1.0.0.0",
        "[::1]",
        ":",
        ":::",
        "::1::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "12345::",
        "::1/129",
        "::/ffff::",
        "::1/255.0.0.0",
        "fe80::1%",
        "fe80::1%a%b",
        "0000:0000:0000:0000:0000:ffff:0255.255.255.255",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct network n;
        if (network_parse(&n, rows[i]) != -EINVAL) {
            fail_msg("%s", rows[i]);
        }
    }
}

static void test_bits_behind_the_prefix_are_told_apart(void **state)
{
    (void)state;
    static const char *const rows[] = {"10.0.0.1/8", "10.0.0.1/31",        "192.0.2.128/24",
                                       "0.0.0.1/0",  "10.0.0.1/255.0.0.0", "10.0.0.1/0.0.0.0",
                                       "::1/127",    "2001:db8:8000::/32"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct network n;
        if (network_parse(&n, rows[i]) != -ERANGE) {
            fail_msg("%s", rows[i]);
        }
    }
}

static void test_a_network_has_what_shares_its_prefix(void **state)
{
    (void)state;
    static const struct {
        const char *network, *address;
        bool has;
    } rows[] = {
        {"10.0.0.7", "10.0.0.7", true},
        {"10.0.0.7", "10.0.0.6", false},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"192.0.2.8/29", "192.0.2.7", false},
        {"192.0.2.8/29", "192.0.2.8", true},
        {"192.0.2.8/29", "192.0.2.15", true},
        {"192.0.2.8/29", "192.0.2.16", false},
        {"0.0.0.0/0", "255.255.255.255", true},
        {"0.0.0.0/0", "::", false},
        {"::/0", "0.0.0.0", false},
        {"::/0", "ffff::", true},
        {"fe80::/10", "febf::1", true},
        {"fe80::/10", "fec0::1", false},
        {"::1", "::1%lo", true},
        {"::ffff:0:0/96", "::ffff:10.0.0.7", true},
        {"10.0.0.0/8", "::ffff:10.0.0.7", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct network n, a;
        assert_int_equal(network_parse(&n, rows[i].network), 0);
        assert_int_equal(network_parse(&a, rows[i].address), 0);
        if (network_has(&n, &a) != rows[i].has) {
            fail_msg("%s in %s", rows[i].address, rows[i].network);
        }
    }
}

static void test_a_mapped_address_is_one_of_ipv4(void **state)
{
    (void)state;
    struct network a, v4, same;
    assert_int_equal(network_parse(&a, "::ffff:10.0.0.7"), 0);
    assert_true(network_unmap(&a, &v4));
    assert_int_equal(network_parse(&same, "10.0.0.7"), 0);
    assert_memory_equal(&v4, &same, sizeof(same));

    static const char *const others[] = {"10.0.0.7", "::10.0.0.7", "64:ff9b::10.0.0.7", "::fffe:10.0.0.7",
                                         "1::ffff:0:1"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(network_parse(&a, others[i]), 0);
        assert_false(network_unmap(&a, &v4));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks_are_what_pythons_ipaddress_takes),
        cmocka_unit_test(test_anything_else_is_none),
        cmocka_unit_test(test_bits_behind_the_prefix_are_told_apart),
        cmocka_unit_test(test_a_network_has_what_shares_its_prefix),
        cmocka_unit_test(test_a_mapped_address_is_one_of_ipv4),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

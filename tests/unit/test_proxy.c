/* test_proxy.c - what a PROXY header says, and whom it is taken from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/str.h"
#include "server/config/settings.h"
#include "server/net/peer.h"
#include "server/net/proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define TCP4_BYTES "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\x57\x01\xbb" /* 192.0.2.1:1111 to 192.0.2.2:443 */

/* All that matters of a verdict, as text. `data` is read from an allocation of just its size. */
static const char *read_from(const char *mode, const char *sender, struct str data)
{
    static char told[512];
    struct settings s;
    struct buf error = {0};
    struct proxy p;
    struct peer peer = {.port = 5};
    struct proxied proxied = {0};
    const char *reason = NULL;
    size_t used = 0;
    char *copy = malloc(data.len);

    assert_true(copy || data.len == 0);
    memcpy(copy, data.p, data.len);
    snprintf(peer.addr, sizeof(peer.addr), "%s", sender);
    assert_int_equal(settings_init(&s, &error), 0);
    assert_int_equal(settings_set(&s, "proxy_protocol", &mode, 1, SETTINGS_FILE, &error), 0);
    assert_int_equal(settings_check(&s, &error), 0);
    assert_int_equal(proxy_init(&p, &s), 0);
    int status = proxy_read(&p, &peer, &proxied, copy, data.len, &used, &reason);
    if (status == PROXY_MORE) {
        snprintf(told, sizeof(told), "more");
    } else if (status) {
        snprintf(told, sizeof(told), "%d %s", status, reason);
    } else if (!proxied.protocol) {
        assert_int_equal(used, 0);
        snprintf(told, sizeof(told), "none");
    } else {
        assert_string_equal(proxied.front_end, sender);
        snprintf(told, sizeof(told), "%s %s:%u>%s:%u, %zu left", proxied.protocol, peer.addr, peer.port, proxied.addr,
                 proxied.port, data.len - used);
    }
    proxy_finish(&p);
    settings_finish(&s);
    buf_finish(&error);
    free(copy);
    return told;
}

static const char *read_auto(struct str data)
{
    return read_from("auto", "127.0.0.1", data);
}

static void test_a_line_says_who_the_client_is(void **state)
{
    (void)state;
    assert_string_equal(read_auto(STR("PROXY TCP4 192.0.2.1 192.0.2.2 1111 443\r\nGET")),
                        "TCP4 192.0.2.1:1111>192.0.2.2:443, 3 left");
    assert_string_equal(read_auto(STR("PROXY TCP6 2001:DB8:0::1 ::1 0 65535\r\n")),
                        "TCP6 2001:db8::1:0>::1:65535, 0 left");
}

static void test_a_line_that_says_nothing_leaves_the_front_end(void **state)
{
    (void)state;
    assert_string_equal(read_auto(STR("PROXY UNKNOWN\r\n")), "UNKNOWN 127.0.0.1:5>:0, 0 left");
    assert_string_equal(read_auto(STR("PROXY UNKNOWN ::1 whatever\r\n")), "UNKNOWN 127.0.0.1:5>:0, 0 left");
}

static void test_a_malformed_line_is_refused(void **state)
{
    (void)state;
    const struct str rows[] = {
        STR("PROXY \r\n"),
        STR("PROXY TCP4\r\n"),
        STR("PROXY TCP4 192.0.2.1 192.0.2.2 1111\r\n"),
        STR("PROXY TCP4 192.0.2.1 192.0.2.2 1111 443 1\r\n"),
        STR("PROXY TCP4  192.0.2.1 192.0.2.2 1111 443\r\n"),
        STR("PROXY TCP4 192.0.2.1 192.0.2.2 1111 443 \r\n"),
        STR("PROXY TCP4 192.0.2.1 192.0.2.2 1111 65536\r\n"),
        STR("PROXY TCP4 192.0.2.1 192.0.2.2 1111 100000\r\n"),
        STR("PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n"),
        STR("PROXY TCP4 192.0.2.1 192.0.2.2 01 443\r\n"),
        STR("PROXY TCP4 192.0.2.1 192.0.2.2  443\r\n"),
        STR("PROXY TCP4 192.0.2.256 192.0.2.2 1111 443\r\n"),
        STR("PROXY TCP4 192.0.2.1 ::1 1111 443\r\n"),
        STR("PROXY TCP6 192.0.2.1 192.0.2.2 1111 443\r\n"),
        STR("PROXY TCP4 192.0.2.1\0 192.0.2.2 1111 443\r\n"),
        STR("PROXY UDP4 192.0.2.1 192.0.2.2 1111 443\r\n"),
        STR("PROXY tcp4 192.0.2.1 192.0.2.2 1111 443\r\n"),
        STR("PROXY TCP4 192.0.2.1 192.0.2.2 1111 443\rX"),
        STR("PROXY UNKNOWN ................................................................................"
            "..............\r\n"),
        STR("PROXY UNKNOWN ................................................................................"
            "................."),
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(read_auto(rows[i]), "400 Invalid PROXY header");
    }
}

static void test_bytes_say_who_the_client_is(void **state)
{
    (void)state;
    assert_string_equal(read_auto(STR(SIGNATURE "\x21\x11\x00\x0c" TCP4_BYTES "GET")),
                        "TCP4 192.0.2.1:1111>192.0.2.2:443, 3 left");
    assert_string_equal(read_auto(STR(SIGNATURE "\x21\x11\x00\x10" TCP4_BYTES "\x04\x00\x01\x00G")),
                        "TCP4 192.0.2.1:1111>192.0.2.2:443, 1 left"); /* with one more fact about the connection */
    assert_string_equal(
        read_auto(STR(SIGNATURE "\x21\x21\x00\x24 \x01\r\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"
                                "\x04\x57\x01\xbb")),
        "TCP6 2001:db8::1:1111>::1:443, 0 left");
}

static void test_bytes_that_say_nothing_leave_the_front_end(void **state)
{
    (void)state;
    assert_string_equal(read_auto(STR(SIGNATURE "\x20\x00\x00\x00")), "LOCAL 127.0.0.1:5>:0, 0 left");
    assert_string_equal(read_auto(STR(SIGNATURE "\x20\x11\x00\x0c" TCP4_BYTES)), "LOCAL 127.0.0.1:5>:0, 0 left");
    assert_string_equal(read_auto(STR(SIGNATURE "\x21\x00\x00\x02xxG")), "UNSPEC 127.0.0.1:5>:0, 1 left");
}

static void test_malformed_bytes_are_refused(void **state)
{
    (void)state;
    const struct str rows[] = {
        STR(SIGNATURE "\x11\x11\x00\x0c" TCP4_BYTES), /* version 1 */
        STR(SIGNATURE "\x22\x11\x00\x0c" TCP4_BYTES), /* neither LOCAL nor PROXY */
        STR(SIGNATURE "\x21\x12\x00\x0c" TCP4_BYTES), /* UDP */
        STR(SIGNATURE "\x21\x31\x00\x0c" TCP4_BYTES), /* a unix socket */
        STR(SIGNATURE "\x21\x11\x00\x0b" TCP4_BYTES), /* too short for its addresses */
        STR(SIGNATURE "\x21\x21\x00\x0c" TCP4_BYTES),
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(read_auto(rows[i]), "400 Invalid PROXY header");
    }
}

static void test_every_beginning_of_a_header_asks_for_more(void **state)
{
    (void)state;
    const struct str rows[] = {STR("PROXY TCP4 192.0.2.1 192.0.2.2 1111 443\r\n"),
                               STR(SIGNATURE "\x21\x11\x00\x0c" TCP4_BYTES)};
    for (size_t i = 0; i < 2; i++) {
        for (size_t len = 0; len < rows[i].len; len++) {
            assert_string_equal(read_auto((struct str){rows[i].p, len}), "more");
        }
        assert_string_equal(read_auto(rows[i]), "TCP4 192.0.2.1:1111>192.0.2.2:443, 0 left");
    }
}

static void test_what_is_no_header_is_left_alone(void **state)
{
    (void)state;
    assert_string_equal(read_auto(STR("GET / HTTP/1.1\r\n")), "none");
    assert_string_equal(read_auto(STR("PROPFIND")), "none");
    assert_string_equal(read_auto(STR("PROXYX")), "none");
    assert_string_equal(read_auto(STR("\r\nGET")), "none");
    assert_string_equal(read_auto(STR("\x16\x03\x01")), "none");
}

static void test_only_the_versions_of_the_setting_are_read(void **state)
{
    (void)state;
    struct str v1 = STR("PROXY UNKNOWN\r\n"), v2 = STR(SIGNATURE "\x20\x00\x00\x00");
    assert_string_equal(read_from("V1", "127.0.0.1", v2), "none");
    assert_string_equal(read_from("v2", "127.0.0.1", v1), "none");
    assert_string_equal(read_from("off", "127.0.0.1", v1), "none");
    assert_string_equal(read_from("v1", "127.0.0.1", v1), "UNKNOWN 127.0.0.1:5>:0, 0 left");
    assert_string_equal(read_from("true", "127.0.0.1", v2), "LOCAL 127.0.0.1:5>:0, 0 left");
}

static void test_a_stranger_is_refused_as_soon_as_it_begins(void **state)
{
    (void)state;
    assert_string_equal(read_from("auto", "192.0.2.7", STR("PROXY ")), "403 Request forbidden");
    assert_string_equal(read_from("auto", "192.0.2.7", STR(SIGNATURE)), "403 Request forbidden");
    assert_string_equal(read_from("auto", "192.0.2.7", STR("GET / ")), "none");
    assert_string_equal(read_from("auto", "", STR("PROXY UNKNOWN\r\n")), "UNKNOWN :5>:0, 0 left");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_says_who_the_client_is),
        cmocka_unit_test(test_a_line_that_says_nothing_leaves_the_front_end),
        cmocka_unit_test(test_a_malformed_line_is_refused),
        cmocka_unit_test(test_bytes_say_who_the_client_is),
        cmocka_unit_test(test_bytes_that_say_nothing_leave_the_front_end),
        cmocka_unit_test(test_malformed_bytes_are_refused),
        cmocka_unit_test(test_every_beginning_of_a_header_asks_for_more),
        cmocka_unit_test(test_what_is_no_header_is_left_alone),
        cmocka_unit_test(test_only_the_versions_of_the_setting_are_read),
        cmocka_unit_test(test_a_stranger_is_refused_as_soon_as_it_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

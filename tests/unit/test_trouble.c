/* test_trouble.c - clients that do not get as far as a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/base/log.h"
#include "server/net/trouble.h"
#include "tests/unit/folder.h"

static int begin(void **state)
{
    (void)state;
    return folder_enter() < 0 ? -1 : log_open("log", LOG_LEVEL_INFO);
}

static int end(void **state)
{
    (void)state;
    log_close();
    return folder_leave();
}

static int lines_with(const char *text)
{
    int n = 0;
    for (const char *at = folder_content("log"); (at = strstr(at, text)); at++) {
        n++;
    }
    return n;
}

static void test_first_one_is_told_at_once(void **state)
{
    (void)state;
    struct trouble t = {0};
    trouble_tell(&t, 0);
    assert_string_equal(folder_content("log"), "");
    trouble_note(&t, TROUBLE_HANDSHAKE, "1.2.3.4", "no shared cipher");
    trouble_tell(&t, 0);
    assert_int_equal(lines_with("a TLS handshake failed 1 time; the last one from 1.2.3.4: no shared cipher\n"), 1);
}

static void test_many_are_one_line_a_minute(void **state)
{
    (void)state;
    struct trouble t = {0};
    for (uint64_t ms = 500; ms < 120000; ms += 500) {
        trouble_note(&t, TROUBLE_HANDSHAKE, "1.2.3.4", "it took too long");
        trouble_tell(&t, ms);
    }
    assert_int_equal(lines_with("failed"), 2);
    assert_int_equal(lines_with("failed 1 time;"), 1);
    assert_int_equal(lines_with("failed 120 times;"), 1);
}

static void test_each_kind_has_its_line(void **state)
{
    (void)state;
    struct trouble t = {0};
    trouble_note(&t, TROUBLE_TLS, "", "a");
    trouble_note(&t, TROUBLE_CLEAR, "::1", "b");
    trouble_tell(&t, 7);
    assert_int_equal(lines_with("TLS came to a plain http address 1 time; the last one from a unix socket: a\n"), 1);
    assert_int_equal(lines_with("plain HTTP came to an https address 1 time; the last one from ::1: b\n"), 1);
    trouble_tell(&t, 1000000);
    assert_int_equal(lines_with("Clients"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_one_is_told_at_once, begin, end),
        cmocka_unit_test_setup_teardown(test_many_are_one_line_a_minute, begin, end),
        cmocka_unit_test_setup_teardown(test_each_kind_has_its_line, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

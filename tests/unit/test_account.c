/* test_account.c - users and groups by name or number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "server/base/account.h"

static void test_names_and_numbers_are_found(void **state)
{
    (void)state;
    uid_t uid = 1;
    gid_t gid = 1;
    assert_int_equal(account_user("root", &uid), 0);
    assert_int_equal(uid, 0);
    assert_int_equal(account_user("54321", &uid), 0);
    assert_int_equal(uid, 54321);
    assert_int_equal(account_group("root", &gid), 0);
    assert_int_equal(gid, 0);
    assert_int_equal(account_group("54321", &gid), 0);
    assert_int_equal(gid, 54321);
}

static void test_what_is_neither_is_refused(void **state)
{
    (void)state;
    uid_t uid = 7;
    gid_t gid = 7;
    const char *const wrong[] = {"", "no such user", "-1", "4294967295", "99999999999999999999", "12x", " 5"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(account_user(wrong[i], &uid), -ENOENT);
        assert_int_equal(account_group(wrong[i], &gid), -ENOENT);
    }
    assert_int_equal(uid, 7);
    assert_int_equal(gid, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_and_numbers_are_found),
        cmocka_unit_test(test_what_is_neither_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

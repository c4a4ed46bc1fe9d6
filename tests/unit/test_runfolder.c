/* test_runfolder.c - names of control sockets, and paths that are too long for an address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/runfolder.h"

static void expect_name(const char *bind, const char *wanted)
{
    struct buf out = {0};
    assert_int_equal(runfolder_name(bind, &out), 0);
    assert_string_equal(buf_cstr(&out), wanted);
    buf_finish(&out);
}

static void test_names_are_file_names(void **state)
{
    (void)state;
    expect_name("0.0.0.0:8080", "0.0.0.0:8080");
    expect_name("https://0.0.0.0:8080", "0.0.0.0:8080");
    expect_name("[::1]:8080", "_::1_:8080");
    expect_name("unix:/run/a b.sock", "unix:_run_a_b.sock");
    expect_name("../..", ".._..");
}

static void test_long_names_differ_by_what_was_cut(void **state)
{
    (void)state;
    char a[300], b[300];
    struct buf one = {0}, two = {0};
    memset(a, 'x', sizeof(a) - 1);
    a[sizeof(a) - 1] = '\0';
    memcpy(b, a, sizeof(a));
    b[0] = 'y';
    assert_int_equal(runfolder_name(a, &one), 0);
    assert_int_equal(runfolder_name(b, &two), 0);
    assert_true(one.len < 100);
    assert_string_not_equal(buf_cstr(&one), buf_cstr(&two));
    buf_finish(&one);
    buf_finish(&two);
}

static void test_long_paths_are_bound_by_their_folder(void **state)
{
    (void)state;
    char folder[200] = "/tmp/cwsgi-test-XXXXXX", path[300];
    struct sockaddr_un address;
    socklen_t len;
    int opened;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/short.sock", folder);
    assert_int_equal(runfolder_address(path, &address, &len, &opened), 0);
    assert_int_equal(opened, -1);
    assert_string_equal(address.sun_path, path);

    size_t before = strlen(folder);
    memset(folder + before, 'd', 120);
    folder[before] = '/';
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(path, sizeof(path), "%s/long.sock", folder);
    assert_int_equal(runfolder_address(path, &address, &len, &opened), 0);
    assert_true(opened >= 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(access(path, F_OK), 0); /* and it lies where it should */
    close(fd);
    close(opened);
    unlink(path);
    rmdir(folder);
    folder[before] = '\0';
    rmdir(folder);

    assert_int_equal(
        runfolder_address("/no/such/folder/of/which/the/name/is/longer/than/what/fits/into/an/address/of/a/"
                          "unix/socket/which/is/a/hundred/and/seven/x.sock",
                          &address, &len, &opened),
        -ENOENT);
    assert_int_equal(opened, -1);
}

static void test_folder_of_others_is_refused(void **state)
{
    (void)state;
    char home[] = "/tmp/cwsgi-test-XXXXXX", inside[100];
    struct buf path = {0};
    assert_non_null(mkdtemp(home));
    setenv("HOME", home, 1);
    assert_int_equal(runfolder_open(0, false, &path), -ENOENT);
    path.len = 0;
    int fd = runfolder_open(0, true, &path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(inside, sizeof(inside), "%s/.cwsgi", home);
    assert_string_equal(buf_cstr(&path), inside);
    assert_int_equal(chmod(inside, 0777), 0);
    path.len = 0;
    assert_int_equal(runfolder_open(0, true, &path), -EPERM);
    rmdir(inside);
    assert_int_equal(symlink("/tmp", inside), 0);
    path.len = 0;
    assert_true(runfolder_open(0, true, &path) < 0);
    unlink(inside);
    rmdir(home);
    buf_finish(&path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_file_names),
        cmocka_unit_test(test_long_names_differ_by_what_was_cut),
        cmocka_unit_test(test_long_paths_are_bound_by_their_folder),
        cmocka_unit_test(test_folder_of_others_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

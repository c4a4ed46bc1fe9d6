#include <limits.h>
#include <patchlevel.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "python/venv.h"
#include "server/base/buf.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define OURS TEXT(PY_MAJOR_VERSION) "." TEXT(PY_MINOR_VERSION)

static char root[PATH_MAX]; /* of this test's files */

static int make_root(void **state)
{
    char path[] = "/tmp/test_venv.XXXXXX";

    (void)state;
    unsetenv("VIRTUAL_ENV");
    return mkdtemp(path) && realpath(path, root) ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[PATH_MAX + 16];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command);
}

static const char *in_root(const char *name)
{
    static char paths[4][PATH_MAX * 2];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
    return path;
}

static void make_file(const char *name, const char *text, mode_t mode)
{
    FILE *f = fopen(in_root(name), "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(in_root(name), mode), 0);
}

/* A folder that looks like a venv. */
static void make_venv(const char *name, const char *cfg)
{
    char path[256];

    assert_int_equal(mkdir(in_root(name), 0755), 0);
    snprintf(path, sizeof(path), "%s/bin", name);
    assert_int_equal(mkdir(in_root(path), 0755), 0);
    snprintf(path, sizeof(path), "%s/pyvenv.cfg", name);
    make_file(path, cfg, 0644);
    snprintf(path, sizeof(path), "%s/bin/python", name);
    make_file(path, "", 0755);
}

static void expect_found(const char *program, const char *prefix)
{
    struct venv v;
    struct buf error = {0};
    char path[PATH_MAX * 3];

    if (venv_find(&v, program, &error) < 0) {
        fail_msg("%s", buf_cstr(&error));
    }
    assert_string_equal(v.prefix, prefix);
    snprintf(path, sizeof(path), "%s/bin/python", prefix);
    assert_string_equal(v.python, path);
    snprintf(path, sizeof(path), "%s/bin/cwsgi", prefix);
    assert_string_equal(v.title, path);
    venv_finish(&v);
    buf_finish(&error);
}

static void expect_refused(const char *program, const char *a, const char *b)
{
    struct venv v;
    struct buf error = {0};

    assert_int_equal(venv_find(&v, program, &error), -1);
    const char *text = buf_cstr(&error);
    if (!strstr(text, a) || !strstr(text, b) || strchr(text, '\n')) {
        fail_msg("not one sentence with '%s' and '%s': %s", a, b, text);
    }
    assert_null(v.python);
    assert_null(v.prefix);
    assert_null(v.title);
    assert_null(v.home);
    buf_finish(&error);
}

static void test_a_program_in_a_venv_serves_that_venv(void **state)
{
    (void)state;
    make_venv("one", "version = " OURS ".1\n");
    make_venv("other", "version = " OURS ".1\n");
    setenv("VIRTUAL_ENV", in_root("other"), 1);
    expect_found(in_root("one/bin/cwsgi"), in_root("one"));
}

static void test_symlinks_on_the_way_to_the_program_are_kept(void **state)
{
    (void)state;
    make_venv("release2", "version = " OURS ".1\n");
    assert_int_equal(symlink("release2", in_root("current")), 0);
    expect_found(in_root("current/bin/cwsgi"), in_root("current"));
}

static void test_a_link_into_a_venv_serves_that_venv(void **state)
{
    (void)state;
    make_venv("linked", "version = " OURS ".1\n");
    make_file("linked/bin/cwsgi", "", 0755);
    assert_int_equal(symlink("linked/bin/cwsgi", in_root("cwsgi")), 0);
    expect_found(in_root("cwsgi"), in_root("linked"));
}

static void test_the_active_venv_is_served_by_a_program_outside(void **state)
{
    (void)state;
    make_venv("active", "home = /usr/bin\nimplementation = CPython\nversion_info = " OURS ".4.final.0\n");
    setenv("VIRTUAL_ENV", in_root("active/"), 1);
    expect_found("/usr/local/bin/cwsgi", in_root("active"));
}

static void test_the_home_of_a_venv_is_told(void **state)
{
    struct venv v;
    struct buf error = {0};

    (void)state;
    make_venv("one", "home = /opt/python/bin\nversion = " OURS ".1\n");
    make_venv("other", "version = " OURS ".1\n");
    assert_int_equal(venv_find(&v, in_root("one/bin/cwsgi"), &error), 0);
    assert_string_equal(v.home, "/opt/python/bin");
    venv_finish(&v);
    assert_int_equal(venv_find(&v, in_root("other/bin/cwsgi"), &error), 0);
    assert_string_equal(v.home, "");
    venv_finish(&v);
    buf_finish(&error);
}

/* In a build that is bound to no Python. */
static void test_without_a_venv_the_python_beside_it_is_served_or_the_one_on_path(void **state)
{
    struct venv v;
    struct buf error = {0};
    char before[PATH_MAX];

    (void)state;
    if (CWSGI_PYTHON_EXECUTABLE[0] != '\0') {
        skip();
    }
    snprintf(before, sizeof(before), "%s", getenv("PATH"));
    assert_int_equal(mkdir(in_root("conda"), 0755), 0);
    assert_int_equal(mkdir(in_root("conda/bin"), 0755), 0);
    setenv("PATH", "relative::/nonexistent", 1);
    expect_refused(in_root("conda/bin/cwsgi"), "python" OURS, "neither beside cwsgi nor on PATH");
    make_file("conda/bin/python" OURS, "", 0755);
    make_file("conda/bin/cwsgi", "", 0755);
    assert_int_equal(symlink("conda/bin/cwsgi", in_root("cwsgi")), 0);
    const char *programs[] = {in_root("conda/bin/cwsgi"), in_root("cwsgi"), "/nonexistent/bin/cwsgi"};
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        if (i == 2) {
            setenv("PATH", in_root("conda/bin"), 1);
        }
        assert_int_equal(venv_find(&v, programs[i], &error), 0);
        assert_string_equal(v.python, in_root("conda/bin/python" OURS));
        assert_string_equal(v.prefix, in_root("conda"));
        assert_string_equal(v.home, in_root("conda/bin"));
        venv_finish(&v);
    }
    buf_finish(&error);
    setenv("PATH", before, 1);
}

static void test_without_a_venv_the_base_is_served(void **state)
{
    struct venv v;
    struct buf error = {0};

    (void)state;
    if (CWSGI_PYTHON_EXECUTABLE[0] == '\0') {
        skip();
    }
    assert_int_equal(venv_find(&v, "/nonexistent/bin/cwsgi", &error), 0);
    assert_string_equal(v.python, CWSGI_PYTHON_EXECUTABLE);
    venv_finish(&v);
    setenv("VIRTUAL_ENV", "", 1);
    assert_int_equal(venv_find(&v, "/nonexistent/bin/cwsgi", &error), 0);
    venv_finish(&v);
    buf_finish(&error);
}

static void test_another_version_is_refused_by_both_names(void **state)
{
    (void)state;
    make_venv("old", "version = 3.4.10\n");
    make_venv("older", "implementation = CPython\nVersion_Info = 2.7.18.final.0\n");
    expect_refused(in_root("old/bin/cwsgi"), "for Python 3.4", "for Python " OURS);
    expect_refused(in_root("older/bin/cwsgi"), "for Python 2.7", "for Python " OURS);
}

static void test_another_implementation_is_refused(void **state)
{
    (void)state;
    make_venv("pypy", "implementation = PyPy\nversion_info = " OURS ".1\n");
    expect_refused(in_root("pypy/bin/cwsgi"), "PyPy", "CPython");
}

static void test_a_venv_whose_python_is_gone_is_refused(void **state)
{
    (void)state;
    make_venv("broken", "version = " OURS ".1\n");
    assert_int_equal(unlink(in_root("broken/bin/python")), 0);
    assert_int_equal(symlink("/nonexistent/python3", in_root("broken/bin/python")), 0);
    expect_refused(in_root("broken/bin/cwsgi"), in_root("broken/bin/python"), "broken");
}

static void test_an_active_venv_that_is_none_is_refused(void **state)
{
    (void)state;
    setenv("VIRTUAL_ENV", in_root("nothing"), 1);
    expect_refused("/usr/bin/cwsgi", "VIRTUAL_ENV", in_root("nothing"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(test_a_program_in_a_venv_serves_that_venv),
        TEST(test_symlinks_on_the_way_to_the_program_are_kept),
        TEST(test_a_link_into_a_venv_serves_that_venv),
        TEST(test_the_active_venv_is_served_by_a_program_outside),
        TEST(test_without_a_venv_the_base_is_served),
        TEST(test_another_version_is_refused_by_both_names),
        TEST(test_another_implementation_is_refused),
        TEST(test_a_venv_whose_python_is_gone_is_refused),
        TEST(test_an_active_venv_that_is_none_is_refused),
        TEST(test_the_home_of_a_venv_is_told),
        TEST(test_without_a_venv_the_python_beside_it_is_served_or_the_one_on_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

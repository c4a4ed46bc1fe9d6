/* test_watch.c - files that are watched for changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/watch.h"
#include "tests/unit/folder.h"

static int begin(void **state)
{
    (void)state;
    return folder_enter();
}

static int end(void **state)
{
    (void)state;
    return folder_leave();
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static struct watch *watch_of(bool poll)
{
    struct watch *w = watch_create(".py", poll);
    assert_non_null(w);
    put("a.py", "1");
    assert_int_equal(watch_add(w, "a.py"), 0);
    assert_null(watch_changed(w));
    return w;
}

static void sees(struct watch *w, const char *path)
{
    const char *changed = watch_changed(w);
    assert_non_null(changed);
    assert_string_equal(changed, path);
    assert_null(watch_changed(w));
}

static void changes_of_a_file(bool poll)
{
    struct watch *w = watch_of(poll);
    put("a.py", "22");
    sees(w, "a.py");
    put("tmp", "333");
    assert_null(watch_changed(w));
    rename("tmp", "a.py");
    sees(w, "a.py");
    unlink("a.py");
    sees(w, "a.py");
    put("a.py", "1");
    sees(w, "a.py");
    watch_destroy(w);
}

static void test_changes_are_seen_by_inotify(void **state)
{
    (void)state;
    changes_of_a_file(false);
}

static void test_changes_are_seen_by_looking(void **state)
{
    (void)state;
    changes_of_a_file(true);
}

static void test_a_new_file_counts_by_its_suffix(void **state)
{
    (void)state;
    struct watch *w = watch_of(false);
    put("c.txt", "no source");
    assert_null(watch_changed(w));
    put("b.py", "1");
    sees(w, "b.py");
    watch_destroy(w);
}

static void test_what_a_link_leads_to_is_watched(void **state)
{
    (void)state;
    for (int poll = 0; poll < 2; poll++) {
        struct watch *w = watch_create(NULL, poll);
        mkdir("sub", 0755);
        put("sub/target.py", "1");
        unlink("link.py");
        assert_int_equal(symlink("sub/target.py", "link.py"), 0);
        assert_int_equal(watch_add(w, "link.py"), 0);
        assert_null(watch_changed(w));
        put("sub/target.py", poll ? "4444" : "22");
        assert_non_null(watch_changed(w));
        watch_destroy(w);
    }
}

static void test_a_file_may_come_later(void **state)
{
    (void)state;
    for (int poll = 0; poll < 2; poll++) {
        struct watch *w = watch_create(NULL, poll);
        assert_int_equal(watch_add(w, "c.txt"), 0);
        assert_int_equal(watch_add(w, "c.txt"), 0);
        assert_int_equal(watch_add(w, "no/such/folder/x"), 0);
        assert_null(watch_changed(w));
        put("c.txt", "here");
        sees(w, "c.txt");
        unlink("c.txt");
        watch_destroy(w);
    }
}

static void test_a_folder_or_a_link_may_come_later(void **state)
{
    (void)state;
    static const char *const paths[] = {"certs", "certs/", "certs//"};
    for (int i = 0; i < 3; i++) {
        struct watch *w = watch_create(NULL, false);
        mkdir("one", 0755);
        assert_int_equal(watch_add(w, paths[i]), 0);
        mkdir("certs", 0755);
        sees(w, "certs");
        rmdir("certs");
        sees(w, "certs");
        assert_int_equal(symlink("one", "certs"), 0);
        sees(w, "certs");
        assert_int_equal(symlink(".", "next"), 0);
        rename("next", "certs");
        sees(w, "certs");
        watch_destroy(w);
        unlink("certs");
    }
}

static void test_news_make_the_descriptor_readable(void **state)
{
    (void)state;
    struct watch *w = watch_of(false);
    struct pollfd p = {.fd = watch_fd(w), .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0);
    put("a.py", "22");
    assert_int_equal(poll(&p, 1, 10000), 1);
    sees(w, "a.py");
    assert_int_equal(poll(&p, 1, 0), 0);
    watch_destroy(w);

    w = watch_create(NULL, true);
    assert_int_equal(watch_fd(w), -1);
    watch_destroy(w);
    watch_destroy(NULL);
}

static void test_a_folder_is_no_file(void **state)
{
    (void)state;
    struct watch *w = watch_create(".py", true);
    assert_int_equal(watch_add(w, "./."), 0);
    put("b.py", "1");
    assert_null(watch_changed(w));
    watch_destroy(w);
}

static void test_all_that_happens_in_a_folder_counts(void **state)
{
    (void)state;
    struct watch *w = watch_create(NULL, false);
    mkdir("sub", 0755);
    put("sub/a", "1");
    assert_int_equal(watch_add(w, "sub/a"), 0);
    assert_int_equal(watch_add_folder(w, "sub"), 0);
    assert_int_equal(watch_add_folder(w, "no/such"), 0);
    put("b", "1");
    assert_null(watch_changed(w));
    put("sub/b", "1");
    sees(w, "sub/b");
    mkdir("sub/sub", 0755);
    sees(w, "sub/sub");
    assert_int_equal(symlink("x", "sub/link"), 0);
    sees(w, "sub/link");
    chmod("sub/a", 0600);
    sees(w, "sub/a");
    rename("sub/a", "a");
    sees(w, "sub/a");
    watch_destroy(w);

    w = watch_create(NULL, true);
    assert_int_equal(watch_add_folder(w, "sub"), 0); /* somebody else has to look */
    put("sub/b", "22");
    assert_null(watch_changed(w));
    watch_destroy(w);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_changes_are_seen_by_inotify),
        TEST(test_changes_are_seen_by_looking),
        TEST(test_a_new_file_counts_by_its_suffix),
        TEST(test_what_a_link_leads_to_is_watched),
        TEST(test_a_file_may_come_later),
        TEST(test_a_folder_or_a_link_may_come_later),
        TEST(test_news_make_the_descriptor_readable),
        TEST(test_a_folder_is_no_file),
        TEST(test_all_that_happens_in_a_folder_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_logrotate.c - when logs are moved away. What becomes of them then is tested from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/process/logrotate.h"
#include "server/process/oldlogs.h"
#include "tests/unit/folder.h"
#include "tests/unit/wallclock.h"

#define MINUTE_US UINT64_C(60000000)

static int begin(void **state)
{
    (void)state;
    wallclock_reset();
    return folder_enter() == 0 ? log_open("errors", LOG_LEVEL_WARNING) : -1;
}

static int end(void **state)
{
    (void)state;
    log_close();
    return folder_leave();
}

static void put(const char *path, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0640);
    assert_true(fd >= 0);
    for (size_t i = 0; i < bytes; i++) {
        assert_int_equal(write(fd, i + 1 < bytes ? "x" : "\n", 1), 1);
    }
    close(fd);
}

static size_t old_files(const char *path)
{
    struct oldlogs o = {0};
    assert_int_equal(oldlogs_list(&o, path), 0);
    size_t n = o.n;
    oldlogs_finish(&o);
    return n;
}

static void set(struct settings *s, const char *name, const char *value)
{
    struct buf error = {0};
    if (settings_set(s, name, &value, 1, SETTINGS_FILE, &error) < 0) {
        fail_msg("%s", buf_cstr(&error));
    }
}

static struct logrotate *open_log(struct settings *s, const char *name, const char *value)
{
    struct buf error = {0};
    assert_int_equal(settings_init(s, &error), 0);
    set(s, "accesslog", "access.log");
    set(s, "log_compress", "none");
    set(s, name, value);
    struct logrotate *r = logrotate_create(s);
    assert_non_null(r);
    return r;
}

/* Moved when the period is over, and not a moment sooner. */
static void check_period(const char *name, time_t (*period_end)(time_t))
{
    struct settings s;
    struct logrotate *r = open_log(&s, "log_rotate", name);
    put("access.log", 10);
    uint64_t now = MINUTE_US;
    assert_false(logrotate_turn(r, now));
    for (int i = 1; i <= 3; i++) {
        time_t left = period_end(time(NULL)) - time(NULL);
        ahead += left - 3;
        assert_false(logrotate_turn(r, now += 2 * MINUTE_US));
        ahead += 3;
        assert_true(logrotate_turn(r, now += 2 * MINUTE_US));
        assert_int_equal(old_files("access.log"), i);
        assert_false(logrotate_turn(r, now += 2 * MINUTE_US)); /* the new one is empty */
        usleep(2000);                                          /* names differ by milliseconds */
        put("access.log", 10);
    }
    logrotate_destroy(r);
    settings_finish(&s);
}

static time_t end_of_hour(time_t t)
{
    return (t / 3600 + 1) * 3600;
}

static time_t end_of_day(time_t t)
{
    return (t / 86400 + 1) * 86400;
}

static time_t end_of_week(time_t t)
{
    return (((t / 86400 + 3) / 7 + 1) * 7 - 3) * 86400; /* the first of January 1970 was a Thursday */
}

static void test_hour_ends_on_the_hour(void **state)
{
    (void)state;
    check_period("hourly", end_of_hour);
}

static void test_day_ends_at_midnight(void **state)
{
    (void)state;
    check_period("daily", end_of_day);
}

static void test_week_ends_on_monday(void **state)
{
    (void)state;
    check_period("weekly", end_of_week);
}

static void test_clock_that_was_far_ahead_delays_nothing(void **state)
{
    (void)state;
    struct settings s;
    ahead = 14 * 86400;
    struct logrotate *r = open_log(&s, "log_rotate", "daily");
    uint64_t now = MINUTE_US;
    put("access.log", 0);
    assert_false(logrotate_turn(r, now)); /* it begins in a future that will not come for two weeks */
    put("access.log", 10);
    ahead = 0;
    assert_false(logrotate_turn(r, now += 2 * MINUTE_US));
    ahead = end_of_day(time(NULL)) - time(NULL);
    assert_true(logrotate_turn(r, now += 2 * MINUTE_US));
    logrotate_destroy(r);
    settings_finish(&s);
}

static void test_size_is_kept_to(void **state)
{
    (void)state;
    struct settings s;
    struct stat st;
    struct logrotate *r = open_log(&s, "log_rotate_size", "1k");
    uint64_t now = MINUTE_US;
    put("access.log", 1023);
    assert_false(logrotate_turn(r, now));
    assert_in_range(logrotate_deadline(r), now + 1, now + MINUTE_US / 60);
    put("access.log", 1);
    assert_true(logrotate_turn(r, now += MINUTE_US));
    assert_int_equal(old_files("access.log"), 1);
    assert_int_equal(stat("access.log", &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    logrotate_destroy(r);
    settings_finish(&s);
}

static void test_file_that_somebody_else_moved_is_noticed(void **state)
{
    (void)state;
    struct settings s;
    struct logrotate *r = open_log(&s, "log_rotate_size", "1k");
    uint64_t now = MINUTE_US;
    put("access.log", 10);
    assert_false(logrotate_turn(r, now));
    assert_int_equal(rename("access.log", "access.log.1"), 0);
    put("access.log", 10);
    assert_true(logrotate_turn(r, now += MINUTE_US));
    assert_false(logrotate_turn(r, now += MINUTE_US));
    assert_int_equal(unlink("access.log"), 0);
    assert_true(logrotate_turn(r, now += MINUTE_US));
    assert_false(logrotate_turn(r, now += MINUTE_US));
    assert_int_equal(old_files("access.log"), 0);
    logrotate_destroy(r);
    settings_finish(&s);
}

static void test_log_in_whose_place_something_else_is_was_moved(void **state)
{
    (void)state;
    struct settings s;
    struct logrotate *r = open_log(&s, "log_rotate", "weekly");
    put("access.log", 10);
    uint64_t now = MINUTE_US;
    assert_false(logrotate_turn(r, now += 2 * MINUTE_US));
    assert_int_equal(rename("access.log", "elsewhere"), 0);
    assert_int_equal(symlink("elsewhere", "access.log"), 0);
    errno = 0;
    assert_true(logrotate_turn(r, now += 2 * MINUTE_US));
    errno = ENOENT; /* of whatever came before */
    assert_false(logrotate_turn(r, now += 2 * MINUTE_US));
    logrotate_destroy(r);
    settings_finish(&s);
}

static void test_what_is_no_file_is_left_alone(void **state)
{
    (void)state;
    struct settings s;
    struct logrotate *r = open_log(&s, "log_rotate_size", "1");
    assert_int_equal(symlink("/dev/full", "access.log"), 0);
    assert_false(logrotate_turn(r, MINUTE_US));
    logrotate_destroy(r);
    settings_finish(&s);
}

static void test_names_say_when_and_sort_by_it(void **state)
{
    (void)state;
    char a[OLDLOG_STAMP + 1], b[OLDLOG_STAMP + 1];
    oldlog_stamp(a, &(struct timespec){.tv_sec = 1764106205, .tv_nsec = 123456789});
    oldlog_stamp(b, &(struct timespec){.tv_sec = 1764106205, .tv_nsec = 124000000});
    assert_string_equal(a, "2025-11-25T21-30-05.123Z");
    assert_true(strcmp(a, b) < 0);
    assert_int_equal(oldlog_time(a), 1764106205);
    assert_int_equal(oldlog_time("2025-11-25T21-30-05.123X"), -1);
    assert_int_equal(oldlog_time("2025-11-25 21-30-05.123Z"), -1);
}

static void test_only_our_names_are_listed(void **state)
{
    (void)state;
    static const char *const names[] = {
        "a.log.2025-11-25T21-30-05.123Z.gz",
        "a.log.2025-11-25T21-30-05.123Z.raw", /* of one file */
        "a.log.2025-11-25T21-30-06.123Z",
        "a.log.2025-11-25T21-30-05.123Z.bz2",
        "b.log.2025-11-25T21-30-05.123Z",
        "a.log.1",
        "a.log",
        "aXlog.2025-11-25T21-30-05.123Z",
    };
    struct oldlogs o = {0};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        put(names[i], 3);
    }
    assert_int_equal(oldlogs_list(&o, "a.log"), 0);
    oldlogs_sort(&o);
    assert_int_equal(o.n, 2);
    assert_string_equal(o.list[0].path, "a.log.2025-11-25T21-30-05.123Z");
    assert_int_equal(o.list[0].size, 6);
    assert_true(o.list[0].raw);
    assert_false(o.list[1].raw);
    oldlogs_finish(&o);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_hour_ends_on_the_hour),
        TEST(test_day_ends_at_midnight),
        TEST(test_week_ends_on_monday),
        TEST(test_clock_that_was_far_ahead_delays_nothing),
        TEST(test_size_is_kept_to),
        TEST(test_file_that_somebody_else_moved_is_noticed),
        TEST(test_log_in_whose_place_something_else_is_was_moved),
        TEST(test_what_is_no_file_is_left_alone),
        TEST(test_names_say_when_and_sort_by_it),
        TEST(test_only_our_names_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

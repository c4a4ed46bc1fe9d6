/* test_clock.c - the texts made of the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "server/base/clock.h"

static time_t wall; /* what the wall clock says; 0: the truth */

/* Stands in for the C library's. */
int clock_gettime(clockid_t clock_id, struct timespec *tp)
{
    if (wall && (clock_id == CLOCK_REALTIME || clock_id == CLOCK_REALTIME_COARSE)) {
        *tp = (struct timespec){.tv_sec = wall};
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, clock_id, tp);
}

static void set_zone(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

static int back_to_the_truth(void **state)
{
    (void)state;
    wall = 0;
    set_zone("UTC0");
    return 0;
}

static void test_date_has_the_form_of_rfc_9110(void **state)
{
    (void)state;
    static const struct {
        time_t at;
        const char *text;
    } table[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {1735689599, "Tue, 31 Dec 2024 23:59:59 GMT"},
        {4102444799, "Thu, 31 Dec 2099 23:59:59 GMT"},
    };
    struct clock c = {0};
    set_zone("NST3:30"); /* the date knows no zone */
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        wall = table[i].at;
        clock_update(&c);
        assert_int_equal(c.now, wall);
        assert_string_equal(c.http_date, table[i].text);
        assert_int_equal(strlen(c.http_date), CLOCK_HTTP_DATE_LEN);
    }
}

static void test_log_time_is_local_and_says_how_far_from_utc(void **state)
{
    (void)state;
    static const struct {
        const char *zone, *text;
    } table[] = {
        {"UTC0", "06/Nov/1994:08:49:37 +0000"},    {"IST-5:30", "06/Nov/1994:14:19:37 +0530"},
        {"NST3:30", "06/Nov/1994:05:19:37 -0330"}, {"HST10", "05/Nov/1994:22:49:37 -1000"},
        {"ABC0:20", "06/Nov/1994:08:29:37 -0020"},
    };
    wall = 784111777;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct clock c = {0};
        set_zone(table[i].zone);
        clock_update(&c);
        assert_string_equal(c.log_time, table[i].text);
        assert_int_equal(strlen(c.log_time), CLOCK_LOG_TIME_LEN);
    }
}

static void test_texts_are_made_once_a_second(void **state)
{
    (void)state;
    struct clock c = {0};
    wall = 1000;
    clock_update(&c);
    c.http_date[0] = '!';
    clock_update(&c);
    assert_int_equal(c.http_date[0], '!');
    wall = 1001;
    clock_update(&c);
    assert_string_equal(c.http_date, "Thu, 01 Jan 1970 00:16:41 GMT");
}

static void test_time_set_back_is_followed(void **state)
{
    (void)state;
    struct clock c = {0};
    wall = 5000;
    clock_update(&c);
    wall = 1000;
    clock_update(&c);
    assert_string_equal(c.http_date, "Thu, 01 Jan 1970 00:16:40 GMT");
}

static void test_monotonic_clock_counts_microseconds(void **state)
{
    (void)state;
    uint64_t before = clock_mono_us();
    usleep(2000);
    uint64_t after = clock_mono_us();
    assert_true(after - before >= 2000);
    assert_true(after - before < 60000000); /* not nanoseconds */
}

static void test_next_time_of_day_is_today_or_tomorrow(void **state)
{
    (void)state;
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    struct tm t = {.tm_year = 126, .tm_mon = 9, .tm_mday = 24, .tm_hour = 12, .tm_isdst = -1};
    time_t noon = mktime(&t); /* the night after it has an hour more */
    assert_int_equal(clock_next("12:01", noon) - noon, 60);
    assert_int_equal(clock_next("12:00:01", noon) - noon, 1);
    assert_int_equal(clock_next("12:00", noon) - noon, 25 * 3600);
    assert_int_equal(clock_next("11:59:59", noon) - noon, 25 * 3600 - 1);
    assert_int_equal(clock_next("3:30", noon) - noon, 16 * 3600 + 1800);
    unsetenv("TZ");
    tzset();
}

static void test_what_is_no_time_of_day(void **state)
{
    (void)state;
    const char *texts[] = {"", "3", "24:00", "12:60", "12:00:61x", "noon", "12:00 ", "-1:00"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(clock_next(texts[i], 0), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_date_has_the_form_of_rfc_9110, back_to_the_truth),
        cmocka_unit_test_teardown(test_log_time_is_local_and_says_how_far_from_utc, back_to_the_truth),
        cmocka_unit_test_teardown(test_texts_are_made_once_a_second, back_to_the_truth),
        cmocka_unit_test_teardown(test_time_set_back_is_followed, back_to_the_truth),
        cmocka_unit_test(test_next_time_of_day_is_today_or_tomorrow),
        cmocka_unit_test(test_what_is_no_time_of_day),
        cmocka_unit_test(test_monotonic_clock_counts_microseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

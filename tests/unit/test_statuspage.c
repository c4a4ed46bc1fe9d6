/* test_statuspage.c - what the data of the status page holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/base/buf.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/http/ownpages.h"
#include "server/http/statuspage.h"
#include "server/net/listener.h"

#define SECOND UINT64_C(1000000)
#define SLOTS 3

/* Time stands still (meson.build). */
static const uint64_t now_us = 3 * SLOW_FOR_US;
uint64_t __wrap_clock_mono_us(void);
uint64_t __wrap_clock_mono_us(void)
{
    return now_us;
}

static void note_slow(struct slot *s, uint64_t ended_us, uint64_t took_us, const char *target)
{
    atomic_store(&s->state, SLOT_READY);
    slot_note_slow(s, ended_us - took_us, ended_us, 200, STR("GET"), str_of(target), STR("192.0.2.1"));
}

static void test_what_is_forgotten_takes_no_place_among_the_slowest(void **state)
{
    (void)state;
    struct settings settings;
    struct scoreboard *sb;
    struct listeners none = {0};
    struct buf out = {0}, error = {0};
    assert_int_equal(settings_init(&settings, &error), 0);
    assert_int_equal(scoreboard_create(&sb, SLOTS), 0);
    for (uint64_t i = 0; i < 2 * SLOW_MAX; i++) {
        note_slow(scoreboard_slot(sb, i % 2), now_us - SLOW_FOR_US - SECOND, (20 + i) * SECOND, "/forgotten");
    }
    note_slow(scoreboard_slot(sb, 2), now_us - SLOW_FOR_US, 3 * SECOND, "/oldest");
    note_slow(scoreboard_slot(sb, 2), now_us - SECOND, 4 * SECOND, "/newest");

    const struct ownfacts facts = {.settings = &settings, .scoreboard = sb, .listeners = &none};
    assert_int_equal(statuspage_write(&facts, &out), 0);
    const char *list = strstr(buf_cstr(&out), "\"slowest\"");
    assert_non_null(list);
    const char *newest = strstr(list, "/newest"), *oldest = strstr(list, "/oldest");
    assert_true(newest && oldest && newest < oldest);
    assert_null(strstr(list, "/forgotten"));

    scoreboard_destroy(sb);
    settings_finish(&settings);
    buf_finish(&out);
    buf_finish(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_forgotten_takes_no_place_among_the_slowest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

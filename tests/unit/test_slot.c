/* test_slot.c - what a worker shows is whole or not there, whenever it is looked at and however the worker ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/slot.h"

static struct slot *shared_slot(void)
{
    struct slot *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(s, MAP_FAILED);
    return s;
}

static void test_the_request_is_shown_as_it_came(void **state)
{
    (void)state;
    struct slot *s = shared_slot();
    struct shown got;
    assert_false(slot_read_shown(s, &got));
    slot_show(s, 7, STR("GET"), STR("/hello?x=1"), STR("192.0.2.1"));
    assert_true(slot_read_shown(s, &got));
    assert_int_equal(got.began_us, 7);
    assert_true(str_eq((struct str){got.method, got.method_len}, STR("GET")));
    assert_true(str_eq((struct str){got.target, got.target_len}, STR("/hello?x=1")));
    assert_true(str_eq((struct str){got.client, got.client_len}, STR("192.0.2.1")));
    assert_false(got.cut);
    slot_show(s, 8, STR("POST"), STR("/"), STR(""));
    assert_true(slot_read_shown(s, &got));
    assert_int_equal(got.target_len, 1);
    assert_int_equal(got.client_len, 0);
    munmap(s, sizeof(*s));
}

static void test_what_is_too_long_is_cut(void **state)
{
    (void)state;
    struct slot *s = shared_slot();
    struct shown got;
    char text[1000];
    memset(text, 'x', sizeof(text));
    slot_show(s, 1, (struct str){text, sizeof(text)}, (struct str){text, sizeof(text)},
              (struct str){text, sizeof(text)});
    assert_true(slot_read_shown(s, &got));
    assert_true(got.cut);
    assert_int_equal(got.method_len, sizeof(got.method));
    assert_int_equal(got.target_len, sizeof(got.target));
    assert_int_equal(got.client_len, sizeof(got.client));
    slot_show(s, 1, STR("GET"), (struct str){text, sizeof(got.target)}, STR(""));
    assert_true(slot_read_shown(s, &got));
    assert_false(got.cut); /* just as long as there is room */
    munmap(s, sizeof(*s));
}

static void test_lengths_of_a_worker_gone_mad_are_not_believed(void **state)
{
    (void)state;
    struct slot *s = shared_slot();
    struct shown got;
    slot_show(s, 1, STR("GET"), STR("/"), STR(""));
    s->shown.target_len = 60000;
    assert_false(slot_read_shown(s, &got));
    munmap(s, sizeof(*s));
}

/* Writes two requests in turn, each made of one letter, until it is killed. */
static void keep_showing(struct slot *s)
{
    char text[2][100];
    memset(text[0], 'a', sizeof(text[0]));
    memset(text[1], 'b', sizeof(text[1]));
    for (uint64_t i = 0;; i++) {
        size_t len = i % 2 ? 100 : 60;
        slot_show(s, i % 2, (struct str){text[i % 2], 4}, (struct str){text[i % 2], len}, (struct str){text[i % 2], 9});
    }
}

static bool is_all(char letter, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] != letter) {
            return false;
        }
    }
    return true;
}

static void assert_whole(const struct shown *s)
{
    char letter = s->began_us ? 'b' : 'a';
    assert_int_equal(s->target_len, s->began_us ? 100 : 60);
    assert_true(is_all(letter, s->target, s->target_len));
    assert_true(is_all(letter, s->method, s->method_len));
    assert_true(is_all(letter, s->client, s->client_len));
}

static void test_readers_see_whole_requests_also_of_a_killed_worker(void **state)
{
    (void)state;
    int whole = 0;
    for (int round = 0; round < 40; round++) {
        struct slot *s = shared_slot();
        struct shown got;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            keep_showing(s);
        }
        while (!slot_read_shown(s, &got)) { /* until it has begun */
        }
        for (int i = 0; i < 2000; i++) {
            if (slot_read_shown(s, &got)) {
                assert_whole(&got);
                whole++;
            }
        }
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        if (slot_read_shown(s, &got)) { /* else it was in the middle */
            assert_whole(&got);
        }
        munmap(s, sizeof(*s));
    }
    assert_true(whole > 0);
}

static void test_counting(void **state)
{
    (void)state;
    struct slot *s = shared_slot();
    slot_count(s, COUNT_requests, 1);
    slot_count(s, COUNT_requests, 2);
    slot_took(s, 100);
    slot_took(s, 101);
    slot_set(s, GAUGE_connections, 5);
    assert_int_equal(s->counters[COUNT_requests], 3);
    assert_int_equal(s->counters[COUNT_took_us], 201);
    assert_int_equal(s->latency[latency_bucket(100)], 2);
    assert_int_equal(s->gauges[GAUGE_connections], 5);
    munmap(s, sizeof(*s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_request_is_shown_as_it_came),
        cmocka_unit_test(test_what_is_too_long_is_cut),
        cmocka_unit_test(test_lengths_of_a_worker_gone_mad_are_not_believed),
        cmocka_unit_test(test_readers_see_whole_requests_also_of_a_killed_worker),
        cmocka_unit_test(test_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

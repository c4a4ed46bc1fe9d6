/* test_inline.c - in what order the application is called for which exchange.
 * An application and a protocol that only note what happens: b2 is begin for exchange 2, n next, e end, f flush, d
 * done, x done without success, A attach, D detach, R reap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/scoreboard.h"
#include "server/exec/app.h"
#include "server/exec/inline.h"
#include "server/net/conns.h"
#include "server/net/peer.h"

#define EXCHANGES 4

struct fixture {
    struct app app;
    struct slot slot;
    struct inline_executor e;
    struct exchange x[EXCHANGES];
    int pieces[EXCHANGES];             /* that the application will still give */
    int room[EXCHANGES];               /* flushes until the client cannot follow */
    enum app_result last[EXCHANGES];   /* what the last call answers */
    struct exchange *submit_when_done; /* the protocol has another request ready */
    struct exchange *abort_in_next;    /* the client leaves while the application computes */
    struct exchange *resume_in_next;   /* the client catches up meanwhile */
    struct exchange *long_call;        /* the application takes a millisecond for it, */
    uint64_t long_us;                  /* or as much as this */
    bool whole[EXCHANGES];             /* what it gives is the whole response */
    bool reap_pending;
    struct conns conns;
    enum cork corked[EXCHANGES]; /* when it was last flushed */
    char events[4096];
};

static struct fixture *f; /* of the test that runs */

/* Time stands still but for long calls (meson.build): how busy the machine is does not matter. */
static uint64_t now_us = 1;
uint64_t __wrap_clock_mono_us(void);
uint64_t __wrap_clock_mono_us(void)
{
    return now_us;
}

static const struct peer PEER = {.addr = "192.0.2.1", .server_addr = ""};

static void note(char what, const struct exchange *x)
{
    size_t len = strlen(f->events);
    if (len + 4 < sizeof(f->events)) {
        snprintf(f->events + len, 4, x ? "%c%d" : "%c", what, x ? (int)(x - f->x) + 1 : 0);
    }
}

static void on_attach(struct app *a)
{
    (void)a;
    note('A', NULL);
}

static void on_detach(struct app *a)
{
    (void)a;
    note('D', NULL);
}

static enum app_result on_next(struct app *a, struct exchange *x)
{
    (void)a;
    size_t i = (size_t)(x - f->x);
    note(x->app ? 'n' : 'b', x);
    assert_int_equal(x->state, EXCHANGE_RUNNING);
    assert_false(x->aborted);
    assert_true(f->e.attached);
    assert_true(f->slot.busy_since_us > 0);
    x->app = f;
    if (f->abort_in_next == x) {
        exchange_abort(x, &f->e.base);
    }
    if (f->long_call == x) {
        now_us += f->long_us ? f->long_us : 1000;
    }
    if (f->whole[i] && !x->response.finished) {
        x->response.content_length = 0;
        response_end(&x->response);
    }
    if (f->resume_in_next) {
        f->e.base.resume(&f->e.base, f->resume_in_next);
    }
    return f->pieces[i]-- > 0 ? (f->whole[i] ? APP_WHOLE : APP_MORE) : f->last[i];
}

static void on_end(struct app *a, struct exchange *x)
{
    (void)a;
    note('e', x);
    assert_non_null(x->app);
    x->app = NULL;
}

static int on_reap_pending(const struct app *a)
{
    (void)a;
    return f->reap_pending;
}

static void on_reap(struct app *a)
{
    (void)a;
    assert_true(f->e.attached);
    f->reap_pending = false;
    note('R', NULL);
}

static void on_flush(struct exchange *x)
{
    note('f', x);
    f->room[x - f->x]--;
    f->corked[x - f->x] = f->conns.corked;
}

static bool on_wants_more(const struct exchange *x)
{
    return f->room[x - f->x] > 0;
}

static void on_done(struct exchange *x, bool ok)
{
    note(ok ? 'd' : 'x', x);
    assert_null(x->app);
    if (f->submit_when_done) {
        struct exchange *next = f->submit_when_done;
        f->submit_when_done = NULL;
        if (next == x) { /* the same memory, another request */
            exchange_reset(x);
            x->peer = &PEER;
            x->peer_kept = true;
        }
        exchange_submit(next, &f->e.base);
    }
}

static int begin(void **state)
{
    (void)state;
    static const struct exchange_ops ops = {.flush = on_flush, .wants_more = on_wants_more, .done = on_done};
    f = aligned_alloc(_Alignof(struct fixture), sizeof(*f)); /* a slot has a cache line of its own */
    if (!f) {
        return -1;
    }
    memset(f, 0, sizeof(*f));
    f->app = (struct app){.attach = on_attach,
                          .detach = on_detach,
                          .begin = on_next,
                          .next = on_next,
                          .end = on_end,
                          .reap_pending = on_reap_pending,
                          .reap = on_reap};
    inline_init(&f->e, &f->app, &f->slot);
    f->e.conns = &f->conns;
    for (size_t i = 0; i < EXCHANGES; i++) {
        exchange_init(&f->x[i]);
        f->x[i].ops = &ops;
        f->x[i].peer = &PEER;
        f->x[i].peer_kept = true; /* it stays: no copy is wanted */
        f->room[i] = 1000000;
        f->last[i] = APP_DONE;
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXCHANGES; i++) {
        f->x[i].app = NULL; /* tests may leave exchanges anywhere */
        f->x[i].queued = false;
        exchange_finish(&f->x[i]);
    }
    free(f);
    return 0;
}

static void submit(int number)
{
    exchange_submit(&f->x[number - 1], &f->e.base);
}

static void resume(int number)
{
    f->e.base.resume(&f->e.base, &f->x[number - 1]);
}

static void abort_one(int number)
{
    exchange_abort(&f->x[number - 1], &f->e.base);
}

/* One turn: these events, and no others. */
static void runs(const char *events)
{
    f->events[0] = '\0';
    inline_run(&f->e);
    assert_string_equal(f->events, events);
    assert_int_equal(f->slot.busy_since_us, 0);
    assert_int_equal(f->conns.corked, CORK_NONE);
}

/* The same exchange for another request. */
static void renew(int number)
{
    struct exchange *x = &f->x[number - 1];
    const struct exchange_ops *ops = x->ops;
    exchange_reset(x);
    x->ops = ops;
    x->peer = &PEER;
    x->peer_kept = true;
}

static void submit_again(int number)
{
    renew(number);
    submit(number);
}

static void test_nothing_happens_before_the_turn(void **state)
{
    (void)state;
    assert_false(inline_has_work(&f->e));
    submit(1);
    assert_string_equal(f->events, "");
    assert_true(inline_has_work(&f->e));
    runs("b1f1e1d1R");
    assert_false(inline_has_work(&f->e));
    runs("");
}

static void test_exchanges_run_in_the_order_they_came(void **state)
{
    (void)state;
    submit(3);
    submit(1);
    submit(2);
    runs("b3f3e3d3b1f1e1d1b2f2e2d2R");
}

/* 1 and 2 are answered in each round, 3 and 4 in the first only: they have waited longer, whoever is reported first. */
static void test_who_had_no_answer_in_the_last_round_comes_first(void **state)
{
    (void)state;
    for (int i = 1; i <= 4; i++) {
        submit(i);
    }
    runs("b1f1e1d1b2f2e2d2b3f3e3d3b4f4e4d4R");
    submit_again(1);
    submit_again(2);
    runs("b1f1e1d1b2f2e2d2R");
    for (int i = 1; i <= 4; i++) {
        renew(i);
        f->x[i - 1].answered_round = i <= 2;
        submit(i);
    }
    runs("b3f3e3d3b4f4e4d4b1f1e1d1b2f2e2d2R");
    assert_false(inline_has_work(&f->e));
}

static void test_each_piece_is_sent_before_the_next_is_asked_for(void **state)
{
    (void)state;
    f->pieces[0] = 3;
    submit(1);
    runs("b1f1n1f1n1f1n1f1e1d1R");
}

static void test_application_rests_while_the_client_cannot_follow(void **state)
{
    (void)state;
    f->pieces[0] = 3;
    f->room[0] = 2;
    submit(1);
    runs("b1f1n1f1R");
    assert_false(inline_has_work(&f->e));
    runs("");
    f->room[0] = 1;
    resume(1);
    runs("n1f1R");
    f->room[0] = 10;
    resume(1);
    runs("n1f1e1d1R");
}

static void test_exchange_that_is_resumed_twice_runs_once(void **state)
{
    (void)state;
    f->pieces[0] = 5;
    f->room[0] = 1;
    submit(1);
    runs("b1f1R");
    f->room[0] = 1;
    resume(1);
    resume(1);
    runs("n1f1R");
    runs("");
}

static void test_resume_from_within_a_step_is_not_queued(void **state)
{
    (void)state;
    f->pieces[0] = 1;
    f->resume_in_next = &f->x[0];
    submit(1);
    runs("b1f1n1f1e1d1R");
    assert_false(inline_has_work(&f->e));
}

static void test_failure_ends_the_exchange_without_success(void **state)
{
    (void)state;
    f->last[0] = f->last[1] = APP_FAILED;
    f->pieces[1] = 1;
    submit(1);
    submit(2);
    runs("b1e1x1b2f2n2e2x2R");
}

static void test_application_never_sees_what_was_aborted_before(void **state)
{
    (void)state;
    submit(1);
    submit(2);
    abort_one(1);
    runs("x1b2f2e2d2R");
}

static void test_waiting_exchange_is_ended_when_it_is_aborted(void **state)
{
    (void)state;
    f->pieces[0] = 5;
    f->room[0] = 2;
    submit(1);
    runs("b1f1n1f1R");
    abort_one(1);
    runs("e1x1R");
    runs("");
}

static void test_abort_during_a_step_ends_it_after_that_piece(void **state)
{
    (void)state;
    f->pieces[0] = 5;
    f->abort_in_next = &f->x[0];
    submit(1);
    runs("b1f1e1x1R");
    assert_false(inline_has_work(&f->e));
}

static void test_endless_body_leaves_turns_to_others(void **state)
{
    (void)state;
    f->pieces[0] = f->pieces[1] = 1000000;
    submit(1);
    submit(2);
    submit(3);
    inline_run(&f->e);
    int first = 1000000 - f->pieces[0], second = 1000000 - f->pieces[1];
    assert_true(first > 1 && first < 1000);
    assert_int_equal(second, first);
    assert_int_equal(f->x[2].state, EXCHANGE_DONE);
    assert_true(inline_has_work(&f->e)); /* nobody has to resume them */
    inline_run(&f->e);
    assert_int_equal(1000000 - f->pieces[0], 2 * first - 1); /* begin is the one piece more of the first turn */
    abort_one(1);
    abort_one(2);
    runs("e1x1e2x2R");
}

static void test_what_comes_during_a_long_turn_waits_for_the_next(void **state)
{
    (void)state;
    f->long_call = &f->x[0];
    submit(1);
    f->submit_when_done = &f->x[1];
    runs("b1f1e1d1R");
    assert_true(inline_has_work(&f->e));
    runs("b2f2e2d2R");
}

static void test_who_is_left_from_the_last_round_comes_before_those_who_had_no_answer_in_it(void **state)
{
    (void)state;
    submit(4);
    runs("b4f4e4d4R");
    f->long_call = &f->x[0];
    submit(1);
    f->submit_when_done = &f->x[1];
    runs("b1f1e1d1R");
    renew(1);
    f->x[0].answered_round = 1;
    submit(1);
    submit(3);
    runs("b2f2e2d2b3f3e3d3b1f1e1d1R");
}

static void test_network_is_not_kept_waiting_for_all_that_is_queued(void **state)
{
    (void)state;
    f->long_call = &f->x[1];
    f->long_us = 5000;
    submit(1);
    submit(2);
    submit(3);
    submit(4);
    runs("b1f1e1d1b2f2e2d2R");
    assert_true(inline_has_work(&f->e));
    runs("b3f3e3d3b4f4e4d4R");
}

/* What a client has pipelined comes up when the answer before it has left. */
static void test_next_request_joins_a_short_turn(void **state)
{
    (void)state;
    submit(1);
    f->submit_when_done = &f->x[1];
    runs("b1f1e1d1b2f2e2d2R");
}

static void test_exchange_may_be_submitted_again_as_it_is_given_back(void **state)
{
    (void)state;
    f->long_call = &f->x[0];
    submit(1);
    f->submit_when_done = &f->x[0];
    f->events[0] = '\0';
    inline_run(&f->e);
    assert_int_equal(f->x[0].state, EXCHANGE_READY);
    assert_true(f->x[0].queued);
    assert_true(inline_has_work(&f->e));
    abort_one(1); /* takes it out of the queue again; its ops went with the reset */
    f->x[0].ops = f->x[1].ops;
    runs("x1R");
}

static void test_interpreter_is_taken_only_for_work(void **state)
{
    (void)state;
    inline_detach(&f->e);
    inline_detach(&f->e);
    assert_string_equal(f->events, "D");
    runs("");
    submit(1);
    runs("Ab1f1e1d1R");
    submit(2);
    runs("b2f2e2d2R"); /* still held */
    f->events[0] = '\0';
    inline_attach(&f->e);
    inline_detach(&f->e);
    inline_attach(&f->e);
    inline_attach(&f->e);
    assert_string_equal(f->events, "DA");
}

static void test_what_was_put_aside_is_work(void **state)
{
    (void)state;
    inline_detach(&f->e);
    f->reap_pending = true;
    assert_true(inline_has_work(&f->e));
    runs("AR");
    assert_false(inline_has_work(&f->e));
}

static void test_whole_response_is_finished_whatever_the_client_takes(void **state)
{
    (void)state;
    f->whole[0] = true;
    f->pieces[0] = 2;
    f->room[0] = 0;
    submit(1);
    runs("b1f1n1f1n1f1e1d1R");
}

static void test_failure_after_a_whole_response_does_not_spoil_it(void **state)
{
    (void)state;
    f->whole[0] = true;
    f->pieces[0] = 1;
    f->last[0] = APP_FAILED;
    submit(1);
    runs("b1f1n1e1d1R");
}

static void test_abort_ends_a_whole_response_too(void **state)
{
    (void)state;
    f->whole[0] = true;
    f->pieces[0] = 1000;
    f->abort_in_next = &f->x[0];
    submit(1);
    runs("b1f1e1d1R");
}

static void test_answers_of_short_calls_go_out_together(void **state)
{
    (void)state;
    submit(1);
    runs("b1f1e1d1R");
    assert_int_equal(f->corked[0], CORK_LAST); /* it has nobody to wait for, but its end */
    submit_again(1);
    submit(2);
    submit(3);
    runs("b1f1e1d1b2f2e2d2b3f3e3d3R");
    assert_int_equal(f->corked[0], CORK_ALL);
    assert_int_equal(f->corked[1], CORK_ALL);
    assert_int_equal(f->corked[2], CORK_ALL);
}

static void test_answers_do_not_wait_for_long_calls(void **state)
{
    (void)state;
    f->long_call = &f->x[1];
    submit(1);
    submit(2);
    submit(3);
    runs("b1f1e1d1b2f2e2d2b3f3e3d3R");
    assert_int_equal(f->corked[2], CORK_NONE);
    f->long_call = NULL;
    submit_again(1);
    submit_again(2);
    runs("b1f1e1d1b2f2e2d2R");
    assert_int_equal(f->corked[0], CORK_NONE);        /* another may come */
    for (int i = 0; f->corked[0] == CORK_NONE; i++) { /* it is forgotten, and comes again */
        assert_true(i < 10000);
        submit_again(1);
        submit_again(2);
        f->events[0] = '\0';
        inline_run(&f->e);
    }
}

static void test_standby_thread_lets_go_of_what_is_corked(void **state)
{
    (void)state;
    conns_cork(&f->conns, CORK_ALL);
    inline_taken(&f->e);
    assert_int_equal(f->conns.corked, CORK_NONE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_happens_before_the_turn),
        TEST(test_exchanges_run_in_the_order_they_came),
        TEST(test_who_had_no_answer_in_the_last_round_comes_first),
        TEST(test_each_piece_is_sent_before_the_next_is_asked_for),
        TEST(test_application_rests_while_the_client_cannot_follow),
        TEST(test_exchange_that_is_resumed_twice_runs_once),
        TEST(test_resume_from_within_a_step_is_not_queued),
        TEST(test_failure_ends_the_exchange_without_success),
        TEST(test_application_never_sees_what_was_aborted_before),
        TEST(test_waiting_exchange_is_ended_when_it_is_aborted),
        TEST(test_abort_during_a_step_ends_it_after_that_piece),
        TEST(test_endless_body_leaves_turns_to_others),
        TEST(test_what_comes_during_a_long_turn_waits_for_the_next),
        TEST(test_who_is_left_from_the_last_round_comes_before_those_who_had_no_answer_in_it),
        TEST(test_network_is_not_kept_waiting_for_all_that_is_queued),
        TEST(test_next_request_joins_a_short_turn),
        TEST(test_exchange_may_be_submitted_again_as_it_is_given_back),
        TEST(test_interpreter_is_taken_only_for_work),
        TEST(test_what_was_put_aside_is_work),
        TEST(test_whole_response_is_finished_whatever_the_client_takes),
        TEST(test_failure_after_a_whole_response_does_not_spoil_it),
        TEST(test_abort_ends_a_whole_response_too),
        TEST(test_answers_of_short_calls_go_out_together),
        TEST(test_answers_do_not_wait_for_long_calls),
        TEST(test_standby_thread_lets_go_of_what_is_corked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

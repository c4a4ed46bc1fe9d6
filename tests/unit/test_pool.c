/* test_pool.c - threads that run the application, and the loop that sends what they make.
 * An application that does what each exchange's script says, and a protocol that notes what it is asked for. The
 * protocol's side runs on the test's thread, which is the loop's; the application waits at gates that the test opens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "server/base/scoreboard.h"
#include "server/exec/app.h"
#include "server/exec/pool.h"
#include "server/http/exchange.h"
#include "server/net/peer.h"

#define EXCHANGES 64
#define BOUND_MS 20000

struct script {
    /* What the application does. */
    int pieces;           /* after the one of begin */
    bool empty;           /* the pieces are */
    enum app_result last; /* what the last call answers */
    bool writes;          /* begin flushes by itself, as write() does */
    int gate;             /* begin waits until that many gates are open */
    int end_gate;         /* and so does end */
    bool whole;           /* the piece of begin is the whole response */
    int next_gate;        /* where next waits */
    bool slow;            /* begin keeps the interpreter until another thread wants it, and for its turn */

    /* What the client does: the loop's. */
    int room; /* pieces until it cannot follow */
    int sent, done, ok;

    /* What came of it. */
    atomic_int begun, made, ended, sent_at_end;
    pthread_t thread; /* that made it */
};

struct fixture {
    struct app app;
    struct slot slot;
    uv_loop_t loop;
    uv_timer_t alarm;
    struct pool *pool;
    struct exchange x[EXCHANGES];
    struct script s[EXCHANGES];
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int gates; /* open: under the lock */
    pthread_mutex_t interpreter;
    atomic_int waiting;  /* at gates */
    atomic_int wanting;  /* the interpreter */
    atomic_int sent_all; /* pieces, over all exchanges */
    atomic_int reaps, to_reap, left;
    int order[EXCHANGES], n_order; /* in which exchanges were begun: under the lock */
};

static struct fixture *f; /* of the test that runs */

/* The application: on any thread of the pool */

static void on_attach(struct app *a)
{
    (void)a;
    f->wanting++;
    pthread_mutex_lock(&f->interpreter);
    f->wanting--;
}

static void on_detach(struct app *a)
{
    (void)a;
    pthread_mutex_unlock(&f->interpreter);
}

static void on_leave(struct app *a)
{
    (void)a;
    f->left++;
}

/* As Python code that sleeps: others may have the interpreter meanwhile. */
static void wait_at(int gate)
{
    on_detach(&f->app);
    pthread_mutex_lock(&f->lock);
    f->waiting++;
    while (f->gates < gate) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    f->waiting--;
    pthread_mutex_unlock(&f->lock);
    on_attach(&f->app);
}

static enum app_result on_next(struct app *a, struct exchange *x)
{
    (void)a;
    struct script *s = &f->s[x - f->x];
    if (s->next_gate && s->made > 0) {
        wait_at(s->next_gate);
    }
    if (!(s->empty && s->made > 0) && !x->response.finished) {
        assert_int_equal(response_push_copy(&x->response, "piece", 5), 0);
    }
    s->made++;
    if (s->whole && s->made == 1) {
        x->response.content_length = 5;
        response_end(&x->response);
    }
    if (s->pieces-- > 0) {
        return s->whole ? APP_WHOLE : APP_MORE;
    }
    if (s->last == APP_DONE && !s->whole) {
        response_end(&x->response);
    }
    return s->last;
}

static enum app_result on_begin(struct app *a, struct exchange *x)
{
    struct script *s = &f->s[x - f->x];
    assert_null(x->app);
    x->app = f;
    s->begun++;
    pthread_mutex_lock(&f->lock);
    f->order[f->n_order++] = (int)(x - f->x);
    pthread_mutex_unlock(&f->lock);
    assert_true(f->slot.busy_since_us > 0);
    assert_string_equal(x->peer->addr, "192.0.2.1");
    s->thread = pthread_self();
    if (s->gate) {
        wait_at(s->gate);
    }
    while (s->slow && f->wanting == 0) {
        uv_sleep(1);
    }
    if (s->slow) {
        uv_sleep(5);
    }
    assert_int_equal(response_start(&x->response, (struct str){"200 OK", 6}), RESPONSE_OK);
    if (s->writes) {
        assert_int_equal(response_push_copy(&x->response, "written", 7), 0);
        exchange_flush(x);
    }
    return on_next(a, x);
}

static void on_end(struct app *a, struct exchange *x)
{
    (void)a;
    struct script *s = &f->s[x - f->x];
    if (s->end_gate) {
        wait_at(s->end_gate);
    }
    s->sent_at_end = f->sent_all;
    assert_non_null(x->app);
    x->app = NULL;
    s->ended++;
}

static int on_reap_pending(const struct app *a)
{
    (void)a;
    return f->to_reap;
}

static void on_reap(struct app *a)
{
    (void)a;
    f->to_reap = 0;
    f->reaps++;
}

/* The protocol: on the loop's thread */

static void on_send(struct exchange *x)
{
    struct script *s = &f->s[x - f->x];
    while (!chunkq_is_empty(&x->response.queue)) {
        struct chunk c = chunkq_pop(&x->response.queue);
        assert_true(memcmp(c.data, c.len == 5 ? "piece" : "written", c.len) == 0);
        chunk_release(&c);
        s->sent++;
        f->sent_all++;
    }
    /* As http1 frames it: the arena is the loop's now. */
    assert_non_null(arena_alloc(&x->arena, 100));
}

static bool on_wants_more(const struct exchange *x)
{
    const struct script *s = &f->s[x - f->x];
    return s->sent < s->room;
}

static void on_done(struct exchange *x, bool ok)
{
    struct script *s = &f->s[x - f->x];
    on_send(x);
    s->done++;
    s->ok = ok;
}

static void on_alarm(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("nothing happens any more");
}

static int begin_with(unsigned threads)
{
    static const struct exchange_ops ops = {.flush = on_send, .wants_more = on_wants_more, .done = on_done};
    static const struct peer peer = {.addr = "192.0.2.1", .server_addr = ""};
    f = aligned_alloc(_Alignof(struct fixture), sizeof(*f)); /* a slot has a cache line of its own */
    if (!f) {
        return -1;
    }
    memset(f, 0, sizeof(*f));
    f->app = (struct app){.attach = on_attach,
                          .detach = on_detach,
                          .leave = on_leave,
                          .begin = on_begin,
                          .next = on_next,
                          .end = on_end,
                          .reap_pending = on_reap_pending,
                          .reap = on_reap};
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    pthread_mutex_init(&f->interpreter, NULL);
    for (size_t i = 0; i < EXCHANGES; i++) {
        exchange_init(&f->x[i]);
        f->x[i].ops = &ops;
        f->x[i].peer = &peer;
        f->s[i].room = 1000000;
        f->s[i].last = APP_DONE;
    }
    if (uv_loop_init(&f->loop) < 0) {
        return -1;
    }
    uv_timer_init(&f->loop, &f->alarm);
    uv_timer_start(&f->alarm, on_alarm, BOUND_MS, 0);
    return pool_create(&f->pool, NULL, &f->loop, threads, &f->app, &f->slot);
}

static int begin(void **state)
{
    (void)state;
    return begin_with(4);
}

static int begin_one(void **state)
{
    (void)state;
    return begin_with(1);
}

static int begin_many(void **state)
{
    (void)state;
    return begin_with(16);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    uv_close(handle, NULL);
}

static int end(void **state)
{
    (void)state;
    bool stopped = pool_stop(f->pool);
    uv_walk(&f->loop, close_handle, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    pool_destroy(f->pool);
    bool closed = uv_loop_close(&f->loop) == 0;
    for (size_t i = 0; i < EXCHANGES; i++) {
        exchange_finish(&f->x[i]);
    }
    free(f);
    return stopped && closed ? 0 : -1;
}

static void submit(int i)
{
    exchange_submit(&f->x[i], pool_executor(f->pool));
}

/* Gates 1 to `n` are open. */
static void open_gates(int n)
{
    pthread_mutex_lock(&f->lock);
    f->gates = n;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void on_poll(uv_timer_t *timer)
{
    (void)timer;
}

/* Runs the loop until something has come true that it is not woken for. */
#define RUN_UNTIL(what)                                                                                                \
    do {                                                                                                               \
        uv_timer_t poll;                                                                                               \
        uv_timer_init(&f->loop, &poll);                                                                                \
        uv_timer_start(&poll, on_poll, 1, 1);                                                                          \
        while (!(what)) {                                                                                              \
            uv_run(&f->loop, UV_RUN_ONCE);                                                                             \
            pool_tend(f->pool);                                                                                        \
        }                                                                                                              \
        uv_close((uv_handle_t *)&poll, NULL);                                                                          \
        uv_run(&f->loop, UV_RUN_NOWAIT);                                                                               \
    } while (0)

static void run_until_idle(void)
{
    RUN_UNTIL(pool_is_idle(f->pool));
}

static void went(int i, int pieces, bool ok)
{
    assert_int_equal(f->s[i].begun, 1);
    assert_int_equal(f->s[i].made, pieces);
    assert_int_equal(f->s[i].ended, 1);
    assert_int_equal(f->s[i].done, 1);
    assert_int_equal(f->s[i].ok, ok);
    assert_int_equal(f->x[i].state, EXCHANGE_DONE);
    assert_false(f->x[i].queued);
}

static void test_exchange_goes_through_and_comes_back(void **state)
{
    (void)state;
    assert_true(pool_is_idle(f->pool));
    submit(0);
    assert_false(pool_is_idle(f->pool));
    run_until_idle();
    went(0, 1, true);
    assert_int_equal(f->s[0].sent, 1);
    assert_int_equal(f->slot.busy_since_us, 0);
}

static void test_exchanges_are_taken_in_the_order_they_came(void **state)
{
    (void)state;
    for (int i = 0; i < EXCHANGES; i++) {
        submit(i);
    }
    run_until_idle();
    for (int i = 0; i < EXCHANGES; i++) {
        went(i, 1, true);
        assert_int_equal(f->order[i], i);
    }
}

static void test_calls_run_at_the_same_time(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        f->s[i].gate = 1;
        submit(i);
    }
    RUN_UNTIL(f->waiting == 4);
    open_gates(1);
    run_until_idle();
}

static void test_all_threads_busy_makes_the_next_one_wait(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        f->s[i].gate = i == 0 ? 1 : 2;
        submit(i);
    }
    RUN_UNTIL(f->waiting == 4);
    assert_int_equal(f->s[4].begun, 0);
    open_gates(1);
    RUN_UNTIL(f->s[4].begun == 1);
    assert_int_equal(f->s[0].done, 1);
    open_gates(2);
    run_until_idle();
}

static void test_each_piece_is_sent_before_the_next_is_made(void **state)
{
    (void)state;
    f->s[0].pieces = 500;
    submit(0);
    int seen = 0;
    while (!pool_is_idle(f->pool)) {
        uv_run(&f->loop, UV_RUN_ONCE);
        assert_true(f->s[0].sent <= f->s[0].made);
        assert_true(f->s[0].made - f->s[0].sent <= 1 || f->s[0].sent > seen);
        seen = f->s[0].sent;
    }
    went(0, 501, true);
    assert_int_equal(f->s[0].sent, 501);
}

static void test_slow_client_makes_its_thread_wait_and_no_other(void **state)
{
    (void)state;
    f->s[0].pieces = 5;
    f->s[0].room = 2;
    submit(0);
    RUN_UNTIL(f->s[0].sent == 2 && f->slot.busy_since_us == 0); /* a client's time is not the application's */
    for (int i = 1; i < 8; i++) {
        submit(i);
    }
    RUN_UNTIL(f->s[7].done);
    assert_int_equal(f->s[0].made, 2);
    assert_int_equal(f->s[0].done, 0);
    f->s[0].room = 4;
    pool_executor(f->pool)->resume(pool_executor(f->pool), &f->x[0]);
    RUN_UNTIL(f->s[0].sent == 4);
    f->s[0].room = 100;
    pool_executor(f->pool)->resume(pool_executor(f->pool), &f->x[0]);
    pool_executor(f->pool)->resume(pool_executor(f->pool), &f->x[0]);
    run_until_idle();
    went(0, 6, true);
    assert_int_equal(f->s[0].sent, 6);
}

static void test_resume_without_room_changes_nothing(void **state)
{
    (void)state;
    f->s[0].pieces = 1;
    f->s[0].room = 1;
    submit(0);
    RUN_UNTIL(f->s[0].sent == 1);
    pool_executor(f->pool)->resume(pool_executor(f->pool), &f->x[0]);
    submit(1);
    RUN_UNTIL(f->s[1].done);
    assert_int_equal(f->s[0].made, 1);
    f->s[0].room = 2;
    pool_executor(f->pool)->resume(pool_executor(f->pool), &f->x[0]);
    run_until_idle();
}

static void test_abort_while_the_thread_waits_ends_the_exchange(void **state)
{
    (void)state;
    f->s[0].pieces = 5;
    f->s[0].room = 2;
    submit(0);
    RUN_UNTIL(f->s[0].sent == 2);
    exchange_abort(&f->x[0], pool_executor(f->pool));
    run_until_idle();
    went(0, 2, false);
}

static void test_abort_while_the_application_computes_ends_it_after_that_piece(void **state)
{
    (void)state;
    f->s[0].pieces = 5;
    f->s[0].gate = 1;
    submit(0);
    RUN_UNTIL(f->waiting == 1);
    exchange_abort(&f->x[0], pool_executor(f->pool));
    open_gates(1);
    run_until_idle();
    went(0, 1, false);
}

static void test_application_never_sees_what_was_aborted_before(void **state)
{
    (void)state;
    f->s[0].gate = 1;
    submit(0);
    RUN_UNTIL(f->waiting == 1);
    submit(1);
    exchange_abort(&f->x[1], pool_executor(f->pool));
    open_gates(1);
    run_until_idle();
    assert_int_equal(f->s[1].begun, 0);
    assert_int_equal(f->s[1].ended, 0);
    assert_int_equal(f->s[1].done, 1);
    assert_false(f->s[1].ok);
}

static void test_endless_pieces_without_bytes_end_when_the_client_leaves(void **state)
{
    (void)state;
    f->s[0].pieces = 1000000000;
    f->s[0].empty = true;
    submit(0);
    RUN_UNTIL(f->s[0].made > 1000);
    exchange_abort(&f->x[0], pool_executor(f->pool));
    run_until_idle();
    assert_int_equal(f->s[0].ended, 1);
    assert_int_equal(f->s[0].sent, 1);
}

static void test_failure_ends_the_exchange_without_success(void **state)
{
    (void)state;
    f->s[0].last = APP_FAILED;
    f->s[1].last = APP_FAILED;
    f->s[1].pieces = 3;
    submit(0);
    submit(1);
    run_until_idle();
    went(0, 1, false);
    went(1, 4, false);
}

static void test_writing_waits_for_the_client(void **state)
{
    (void)state;
    f->s[0].writes = true;
    f->s[0].room = 1;
    submit(0);
    RUN_UNTIL(f->s[0].sent == 1 && f->slot.busy_since_us == 0);
    assert_int_equal(f->s[0].made, 0);
    f->s[0].room = 10;
    pool_executor(f->pool)->resume(pool_executor(f->pool), &f->x[0]);
    run_until_idle();
    went(0, 1, true);
    assert_int_equal(f->s[0].sent, 2);
}

static void test_complete_response_is_sent_before_the_iterable_is_closed(void **state)
{
    (void)state;
    f->s[0].end_gate = 1;
    submit(0);
    RUN_UNTIL(f->s[0].sent == 1);
    assert_int_equal(f->s[0].ended, 0);
    assert_int_equal(f->s[0].done, 0);
    open_gates(1);
    run_until_idle();
    assert_int_equal(f->s[0].sent_at_end, 1);
    went(0, 1, true);
}

/* By its length: the client has it, whatever the application goes on to do. */
static void test_whole_response_is_sent_though_the_application_goes_on(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        f->s[i].whole = true;
        f->s[i].pieces = 2;
        f->s[i].next_gate = 1;
        f->s[i].last = i == 0 ? APP_DONE : APP_FAILED;
        submit(i);
        RUN_UNTIL(f->s[i].sent == 1 && f->waiting == i + 1);
        assert_int_equal(f->s[i].ended, 0);
    }
    open_gates(1);
    run_until_idle();
    went(0, 3, true);
    went(1, 3, true);
    assert_int_equal(f->s[1].sent, 1);
}

static void test_one_thread_waits_for_the_interpreter_with_nothing_in_hand(void **state)
{
    (void)state;
    on_attach(&f->app); /* as a library that computes for long */
    for (int i = 0; i < 8; i++) {
        submit(i);
    }
    RUN_UNTIL(f->wanting > 0);
    for (int i = 0; i < 20; i++) {
        uv_sleep(1);
        assert_int_equal(f->wanting, 1);
    }
    exchange_abort(&f->x[0], pool_executor(f->pool));
    on_detach(&f->app);
    run_until_idle();
    assert_int_equal(f->s[0].begun, 0);
    for (int i = 1; i < 8; i++) {
        assert_int_equal(f->order[i - 1], i);
    }
}

static void test_threads_take_turns_between_calls(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        f->s[i].slow = i < 7; /* nobody waits when nothing is left to do */
        submit(i);
    }
    run_until_idle();
    for (int i = 1; i < 8; i++) {
        assert_int_equal(f->order[i], i);
        assert_false(pthread_equal(f->s[i].thread, f->s[i - 1].thread));
    }
}

static void test_the_oldest_call_counts_for_the_time_limit(void **state)
{
    (void)state;
    f->s[0].gate = 1;
    f->s[1].gate = 2;
    f->s[2].gate = 3;
    uint64_t since[3];
    for (int i = 0; i < 3; i++) {
        submit(i);
        RUN_UNTIL(f->waiting == i + 1);
        since[i] = f->slot.busy_since_us;
        uv_sleep(2);
    }
    assert_true(since[0] > 0);
    assert_true(since[1] == since[0] && since[2] == since[0]);
    open_gates(2); /* the oldest two end, in any order */
    RUN_UNTIL(f->s[0].done && f->s[1].done);
    assert_true(f->slot.busy_since_us > since[0] + 2000);
    open_gates(3);
    run_until_idle();
    assert_int_equal(f->slot.busy_since_us, 0);
}

static void test_conversation_has_no_time_limit(void **state)
{
    (void)state;
    struct executor *e = pool_executor(f->pool);
    f->s[0].gate = f->s[1].gate = 1;
    submit(0);
    RUN_UNTIL(f->waiting == 1);
    submit(1);
    RUN_UNTIL(f->waiting == 2);
    uint64_t first = f->slot.busy_since_us;
    e->unlimit(e, &f->x[0]);
    assert_true(f->slot.busy_since_us > first); /* the other one's */
    e->unlimit(e, &f->x[1]);
    assert_int_equal(f->slot.busy_since_us, 0);
    open_gates(1);
    run_until_idle();
    e->unlimit(e, &f->x[0]); /* too late: nothing happens */
    assert_int_equal(f->slot.busy_since_us, 0);
}

static void test_what_was_put_aside_is_reaped_by_a_thread(void **state)
{
    (void)state;
    f->to_reap = 1;
    RUN_UNTIL(f->reaps == 1);
    f->to_reap = 1;
    submit(0);
    run_until_idle();
    RUN_UNTIL(f->reaps == 2);
}

static void test_pool_does_not_stop_over_a_running_call(void **state)
{
    (void)state;
    f->s[0].gate = 1;
    submit(0);
    RUN_UNTIL(f->waiting == 1);
    assert_false(pool_stop(f->pool));
    submit(1); /* it goes on as before */
    RUN_UNTIL(f->s[1].done);
    open_gates(1);
    run_until_idle();
}

static void test_every_thread_takes_its_leave(void **state)
{
    (void)state;
    submit(0);
    run_until_idle();
    assert_true(pool_stop(f->pool));
    assert_int_equal(f->left, 4);
    pool_destroy(NULL);
}

static int end_stopped(void **state)
{
    (void)state;
    uv_walk(&f->loop, close_handle, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    pool_destroy(f->pool);
    uv_loop_close(&f->loop);
    for (size_t i = 0; i < EXCHANGES; i++) {
        exchange_finish(&f->x[i]);
    }
    free(f);
    return 0;
}

/* Everything at once, for the thread sanitizer: streams, slow clients, aborts, failures. */
static void test_many_exchanges_of_every_kind(void **state)
{
    (void)state;
    struct executor *e = pool_executor(f->pool);
    for (int i = 0; i < EXCHANGES; i++) {
        struct script *s = &f->s[i];
        s->pieces = i % 7 * 10;
        s->room = i % 3 == 0 ? 3 : 1000000;
        s->last = i % 5 == 0 ? APP_FAILED : APP_DONE;
        s->writes = i % 4 == 0;
        submit(i);
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    unsigned turn = 0;
    while (!pool_is_idle(f->pool)) {
        f->to_reap = turn % 8 == 0;
        for (int i = 0; i < EXCHANGES; i++) {
            struct exchange *x = &f->x[i];
            if (x->state != EXCHANGE_RUNNING) {
                continue;
            }
            if (i % 11 == 0 && turn == 5) {
                exchange_abort(x, e);
            } else {
                f->s[i].room += 2;
                e->resume(e, x);
            }
        }
        uv_run(&f->loop, UV_RUN_NOWAIT);
        pool_tend(f->pool);
        turn++;
    }
    for (int i = 0; i < EXCHANGES; i++) {
        assert_int_equal(f->s[i].done, 1);
        assert_int_equal(f->s[i].begun, f->s[i].ended);
    }
    assert_int_equal(f->slot.busy_since_us, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_exchange_goes_through_and_comes_back),
        TEST(test_exchanges_are_taken_in_the_order_they_came),
        TEST(test_calls_run_at_the_same_time),
        TEST(test_all_threads_busy_makes_the_next_one_wait),
        TEST(test_each_piece_is_sent_before_the_next_is_made),
        TEST(test_slow_client_makes_its_thread_wait_and_no_other),
        TEST(test_resume_without_room_changes_nothing),
        TEST(test_abort_while_the_thread_waits_ends_the_exchange),
        TEST(test_abort_while_the_application_computes_ends_it_after_that_piece),
        cmocka_unit_test_setup_teardown(test_application_never_sees_what_was_aborted_before, begin_one, end),
        TEST(test_endless_pieces_without_bytes_end_when_the_client_leaves),
        TEST(test_failure_ends_the_exchange_without_success),
        TEST(test_writing_waits_for_the_client),
        TEST(test_complete_response_is_sent_before_the_iterable_is_closed),
        TEST(test_whole_response_is_sent_though_the_application_goes_on),
        TEST(test_one_thread_waits_for_the_interpreter_with_nothing_in_hand),
        TEST(test_threads_take_turns_between_calls),
        TEST(test_the_oldest_call_counts_for_the_time_limit),
        TEST(test_conversation_has_no_time_limit),
        TEST(test_what_was_put_aside_is_reaped_by_a_thread),
        TEST(test_pool_does_not_stop_over_a_running_call),
        cmocka_unit_test_setup_teardown(test_every_thread_takes_its_leave, begin, end_stopped),
        cmocka_unit_test_setup_teardown(test_many_exchanges_of_every_kind, begin_many, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

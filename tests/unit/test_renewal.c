/* test_renewal.c - certificates that change while the server serves, on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/net/certs.h"
#include "server/net/tls.h"
#include "server/process/news.h"
#include "server/process/renewal.h"
#include "tests/unit/folder.h"

#define DAY 86400

static time_t fake_now; /* 0: the real time */
static bool no_inotify;

/* In place of the C library's. */
time_t time(time_t *out)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    time_t now = fake_now ? fake_now : t.tv_sec;
    if (out) {
        *out = now;
    }
    return now;
}

int inotify_init1(int flags)
{
    errno = EMFILE;
    return no_inotify ? -1 : (int)syscall(SYS_inotify_init1, flags);
}

static void run(const char *command)
{
    if (system(command) != 0) {
        fail_msg("cannot run: %s", command);
    }
}

static int make_files(void **state)
{
    (void)state;
    if (folder_enter() < 0) {
        return -1;
    }
    run("for n in 1 2; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 60 -subj "
        "/CN=$n "
        "-addext subjectAltName=DNS:site.example -keyout $n.key -out $n.crt 2>log || exit 1; done");
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    return folder_leave();
}

static int begin(void **state)
{
    (void)state;
    fake_now = 0;
    no_inotify = false;
    run("rm -rf ssl log; mkdir ssl; cp 1.crt 1.key ssl");
    return log_open("log", LOG_LEVEL_INFO);
}

static int end(void **state)
{
    (void)state;
    log_close();
    return chdir(folder);
}

static const struct settings settings = {.certfile = (char *)"ssl"};

static struct renewal *start(int *bulletin)
{
    struct renewal *r;
    struct buf error = {0};
    if (renewal_create(&r, &settings, bulletin, &error) < 0) {
        fail_msg("%s", buf_cstr(&error));
    }
    return r;
}

static struct renewal *start_first(void)
{
    int none = -1;
    return start(&none);
}

static void serves(const struct renewal *r, const char *common)
{
    char name[100];
    const struct certs *certs = renewal_certs(r);
    const struct certpair *p = certs_pair(certs, certs_set(certs, 0)->pair[0]);
    X509_NAME_get_text_by_NID(X509_get_subject_name(p->cert), NID_commonName, name, sizeof(name));
    assert_string_equal(name, common);
}

static size_t logged(const char *text)
{
    size_t n = 0;
    const char *at = folder_content("log");
    while ((at = strstr(at, text))) {
        n++;
        at++;
    }
    return n;
}

static void test_change_is_served_a_second_after_it_was_told(void **state)
{
    (void)state;
    struct renewal *r = start_first();
    uint64_t now = clock_mono_us();
    renewal_tend(r, now);
    struct news news = {0};
    renewal_await(r, &news);
    assert_int_equal(news.n, 1);
    assert_int_equal(poll(news.list, 1, 0), 0);
    assert_true(renewal_deadline(r) > now + 50 * SECOND_US); /* an idle master sleeps */

    run("cp 2.key ssl/; cp 2.crt ssl/ && touch -d tomorrow ssl/2.crt");
    assert_int_equal(poll(news.list, 1, 10000), 1);
    renewal_tend(r, now += SECOND_US);
    serves(r, "1");
    assert_true(renewal_deadline(r) <= now + SECOND_US);
    renewal_tend(r, now += SECOND_US);
    serves(r, "2");
    assert_int_equal(logged("Certificate for site.example"), 1);
    renewal_destroy(r);
}

static void test_change_is_found_where_nobody_tells(void **state)
{
    (void)state;
    no_inotify = true;
    struct renewal *r = start_first();
    uint64_t now = clock_mono_us();
    struct news news = {0};
    renewal_tend(r, now);
    renewal_await(r, &news);
    assert_int_equal(news.n, 0);
    run("cp 2.key ssl/; cp 2.crt ssl/ && touch -d tomorrow ssl/2.crt");
    renewal_tend(r, now += 2 * SECOND_US);
    serves(r, "1");
    assert_true(renewal_deadline(r) <= now + 5 * SECOND_US);
    renewal_tend(r, now += 5 * SECOND_US);
    serves(r, "1");
    renewal_tend(r, now += SECOND_US);
    serves(r, "2");
    renewal_destroy(r);
}

static void test_folder_that_is_never_still_is_read_after_some_time(void **state)
{
    (void)state;
    struct renewal *r = start_first();
    uint64_t now = clock_mono_us();
    renewal_tend(r, now);
    run("cp 2.key ssl/; cp 2.crt ssl/ && touch -d tomorrow ssl/2.crt");
    for (int i = 0; i < 10; i++) {
        run("echo x >>ssl/journal");
        renewal_tend(r, now += SECOND_US);
        serves(r, "1");
    }
    run("echo x >>ssl/journal");
    renewal_tend(r, now += SECOND_US);
    serves(r, "2");
    renewal_destroy(r);
}

static void test_trouble_is_told_once_and_ends(void **state)
{
    (void)state;
    struct renewal *r = start_first();
    uint64_t now = clock_mono_us();
    renewal_tend(r, now);
    run("mv ssl/1.key kept.key; cp 2.crt ssl/1.crt");
    for (int i = 0; i < 100; i++) {
        renewal_tend(r, now += 3 * SECOND_US);
    }
    serves(r, "1");
    assert_int_equal(logged("The certificates in memory go on serving"), 1);
    assert_non_null(strstr(renewal_trouble(r), "holds no private key"));
    run("cp 2.key ssl/1.key");
    for (int i = 0; i < 5; i++) {
        renewal_tend(r, now += SECOND_US);
    }
    serves(r, "2");
    assert_null(renewal_trouble(r));
    run("mv ssl away");
    for (int i = 0; i < 5; i++) {
        renewal_tend(r, now += SECOND_US);
    }
    run("mv away ssl");
    for (int i = 0; i < 5; i++) {
        renewal_tend(r, now += SECOND_US);
    }
    assert_int_equal(logged("The certificates in memory go on serving"), 2);
    assert_int_equal(logged("The certificates can be read again"), 1);
    renewal_destroy(r);
}

static void test_folder_that_is_made_again_is_found_soon(void **state)
{
    (void)state;
    struct renewal *r = start_first();
    uint64_t now = clock_mono_us();
    renewal_tend(r, now);
    run("rm -r ssl");
    for (int i = 0; i < 3; i++) {
        renewal_tend(r, now += SECOND_US);
    }
    assert_non_null(renewal_trouble(r));
    assert_true(renewal_deadline(r) <= now + 5 * SECOND_US); /* also when its own folder is gone, where nobody tells */
    run("mkdir ssl");
    for (int i = 0; i < 3; i++) {
        renewal_tend(r, now += SECOND_US);
    }
    run("cp 2.crt 2.key ssl");
    for (int i = 0; i < 3; i++) {
        renewal_tend(r, now += SECOND_US);
    }
    serves(r, "2");
    renewal_destroy(r);
}

static void test_trouble_that_lasts_is_looked_at_often_and_read_seldom(void **state)
{
    (void)state;
    struct renewal *r = start_first();
    uint64_t now = clock_mono_us();
    char events[4096];
    renewal_tend(r, now);
    unlink("ssl/1.key");
    for (int i = 0; i < 3; i++) {
        renewal_tend(r, now += SECOND_US);
    }
    assert_non_null(renewal_trouble(r));
    int opened = inotify_init1(IN_NONBLOCK);
    assert_true(inotify_add_watch(opened, "ssl/1.crt", IN_OPEN) >= 0);
    for (int i = 0; i < 11; i++) {
        renewal_tend(r, now += 5 * SECOND_US);
    }
    assert_int_equal(read(opened, events, sizeof(events)), -1); /* a folder of many would cost much */
    renewal_tend(r, now += 5 * SECOND_US);
    renewal_tend(r, now += 5 * SECOND_US);
    assert_true(read(opened, events, sizeof(events)) > 0); /* what went wrong may have been ours */
    close(opened);
    run("cp 1.key ssl");
    renewal_tend(r, now += 5 * SECOND_US);
    renewal_tend(r, now += SECOND_US);
    assert_null(renewal_trouble(r));
    renewal_destroy(r);
}

static void test_end_is_warned_of_five_times(void **state)
{
    (void)state;
    struct renewal *r = start_first();
    time_t until = certs_pair(renewal_certs(r), 0)->not_after;
    uint64_t now = clock_mono_us();
    static const struct {
        int days;
        size_t lines;
    } table[] = {{50, 0}, {31, 0}, {30, 1}, {29, 1}, {20, 1}, {14, 2}, {8, 2}, {7, 3}, {4, 3}, {3, 4}, {2, 4}, {1, 5}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        fake_now = until - (time_t)table[i].days * DAY;
        for (int k = 0; k < 3; k++) {
            renewal_tend(r, now += 60 * SECOND_US);
        }
        assert_int_equal(logged("A certificate expires soon: site.example"), table[i].lines);
    }
    assert_int_equal(logged("(1 day): "), 1);
    fake_now = until + 10;
    renewal_tend(r, now += 60 * SECOND_US);
    renewal_tend(r, now += 60 * SECOND_US);
    assert_int_equal(logged("1.crt has expired"), 1);
    serves(r, "1");
    renewal_destroy(r);
}

static void test_another_one_takes_over_when_the_time_comes(void **state)
{
    (void)state;
    run("cp 2.key 2.crt ssl");
    struct renewal *r = start_first();
    size_t first = strstr(certs_pair(renewal_certs(r), 0)->cert_path, "1.crt") ? 1 : 2;
    uint64_t now = clock_mono_us();
    renewal_tend(r, now);
    fake_now = certs_pair(renewal_certs(r), 0)->not_after + 1; /* the other's end as well: they were made together */
    renewal_tend(r, now += SECOND_US);
    serves(r, first == 1 ? "1" : "2");
    assert_int_equal(logged("has expired: clients will refuse it"), 1);
    renewal_destroy(r);
}

static void test_workers_see_what_the_master_has_read(void **state)
{
    (void)state;
    struct renewal *r = start_first();
    uint64_t now = clock_mono_us();
    int gate[2];
    char c;
    assert_int_equal(pipe(gate), 0);
    renewal_tend(r, now);
    pid_t worker = fork();
    if (worker == 0) {
        renewal_forget(r);
        const struct tls_context *tls = renewal_take(r);
        size_t before = strlen(certs_pair(renewal_certs(r), 0)->cert_path);
        close(gate[1]);
        if (read(gate[0], &c, 1) != 0 || renewal_take(r) != tls) {
            _exit(1);
        }
        const char *path = certs_pair(renewal_certs(r), 0)->cert_path;
        _exit(before == strlen(path) && strstr(path, "ssl/2.crt") ? 0 : 2);
    }
    run("cp 2.key ssl/; cp 2.crt ssl/ && touch -d tomorrow ssl/2.crt");
    renewal_tend(r, now += SECOND_US);
    renewal_tend(r, now += SECOND_US);
    close(gate[0]);
    close(gate[1]);
    int status;
    assert_int_equal(waitpid(worker, &status, 0), worker);
    assert_int_equal(status, 0);
    renewal_destroy(r);
}

static void test_next_image_serves_what_was_served_when_the_files_are_bad(void **state)
{
    (void)state;
    struct renewal *r = start_first();
    int fd = dup(renewal_fd(r));
    run("rm -r ssl");
    struct renewal *next = start(&fd);
    assert_int_equal(fd, -1);
    serves(next, "1");
    assert_non_null(strstr(renewal_trouble(next), "No such file"));
    assert_non_null(strstr(certs_pair(renewal_certs(next), 0)->cert_path, "/ssl/1.crt"));
    renewal_destroy(next);
    renewal_destroy(r);

    int none = -1;
    struct buf error = {0};
    assert_int_equal(renewal_create(&r, &settings, &none, &error), -1); /* at a first start there is nothing */
    assert_non_null(strstr(buf_cstr(&error), "No such file"));
    buf_finish(&error);
}

static void test_without_tls_there_is_nothing_to_do(void **state)
{
    (void)state;
    struct news news = {0};
    renewal_tend(NULL, 1);
    renewal_await(NULL, &news);
    renewal_announce(NULL);
    renewal_forget(NULL);
    renewal_destroy(NULL);
    assert_int_equal(renewal_deadline(NULL) + news.n, 0);
    assert_int_equal(renewal_fd(NULL), -1);
    assert_null(renewal_trouble(NULL));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(test_change_is_served_a_second_after_it_was_told),
        TEST(test_change_is_found_where_nobody_tells),
        TEST(test_folder_that_is_never_still_is_read_after_some_time),
        TEST(test_trouble_is_told_once_and_ends),
        TEST(test_folder_that_is_made_again_is_found_soon),
        TEST(test_trouble_that_lasts_is_looked_at_often_and_read_seldom),
        TEST(test_end_is_warned_of_five_times),
        TEST(test_another_one_takes_over_when_the_time_comes),
        TEST(test_workers_see_what_the_master_has_read),
        TEST(test_next_image_serves_what_was_served_when_the_files_are_bad),
        TEST(test_without_tls_there_is_nothing_to_do),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}

/* test_reload.c - the gate of a reload. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/process/daemon.h"
#include "server/process/reload.h"

static struct reload r;
static char program[] = "/tmp/test_reload.XXXXXX", log_path[] = "/tmp/test_reload_log.XXXXXX";

/* A trial that is this shell script, to its end. */
static void try_script(const char *script)
{
    static char *argv[] = {(char *)"sh", (char *)"--", (char *)"app", NULL};
    static char *env[] = {(char *)"CWSGI_HANDOVER=5", NULL};
    static const struct launch l = {.program = program, .cwd = (char *)"/usr", .argc = 3, .argv = argv, .env = env};
    static const struct settings s = {.timeout = 5, .reload_timeout = 7};
    int out = open(program, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_true(out >= 0);
    dprintf(out, "#!/bin/sh\n%s\n", script);
    close(out);
    reload_init(&r, &l, &s);
    reload_start(&r);
    assert_int_equal(r.state, RELOAD_TRYING);
    assert_true(r.trial > 0);
}

static void wait_for_end(void)
{
    int status;
    assert_int_equal(waitpid(r.trial, &status, 0), r.trial);
    reload_ended(&r, status);
    assert_int_equal(r.trial, 0);
    assert_int_equal(r.out, -1);
    assert_int_equal(reload_deadline(&r), 0);
}

static bool log_has(const char *text)
{
    char got[256 * 1024] = "";
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, got, sizeof(got) - 1);
    close(fd);
    return n > 0 && strstr(got, text);
}

static void test_trial_runs_the_program_with_check_config_first(void **state)
{
    (void)state;
    try_script("echo \"$* $PWD ${CWSGI_HANDOVER-none}\"; exit 7");
    wait_for_end();
    assert_int_equal(r.state, RELOAD_REFUSED);
    assert_true(log_has("--check-config -- app /usr none\n"));
    assert_string_equal(buf_cstr(&r.said), "--check-config -- app /usr none\nReload refused: the new release does not "
                                           "load (exit status 7); the old release keeps serving\n");
    assert_true(log_has("[ERROR] Reload refused: the new release does not load (exit status 7)"));
    reload_finish(&r);
}

static void test_end_of_a_long_text_is_kept(void **state)
{
    (void)state;
    try_script("i=0; while [ $i -lt 9000 ]; do echo \"line $i ................\"; i=$((i+1)); done >&2; echo last");
    int status;
    while (waitpid(r.trial, &status, WNOHANG) == 0) { /* more than fits into the pipe */
        reload_tend(&r, 0);
    }
    reload_ended(&r, status);
    assert_int_equal(r.state, RELOAD_GOOD);
    assert_in_range(r.said.len, 16 * 1024, 64 * 1024);
    assert_memory_equal(r.said.data + r.said.len - 5, "last\n", 5);
    assert_true(log_has("line 0 ...") && log_has("line 8999 ..."));
    reload_finish(&r);
}

static void test_line_in_two_pieces_is_one_in_the_log(void **state)
{
    (void)state;
    try_script("printf 'first half, '; sleep 0.1; echo second half; printf 'no end'");
    while (!r.said.data || !memchr(r.said.data, '\n', r.said.len)) {
        reload_tend(&r, 0);
        log_info("Meanwhile");
        usleep(10000);
    }
    wait_for_end();
    log_info("Later");
    assert_true(log_has("\nfirst half, second half\n"));
    assert_true(log_has("\nno end\n"));
    reload_finish(&r);
}

static void test_trial_that_takes_too_long_is_asked_and_killed(void **state)
{
    (void)state;
    try_script("trap 'echo here' URG; echo begun; while :; do sleep 0.01; done");
    uint64_t end = reload_deadline(&r);
    reload_tend(&r, end - 1);
    assert_int_equal(r.state, RELOAD_TRYING);
    while (r.said.len == 0) {
        reload_tend(&r, 0);
    }
    reload_tend(&r, end);
    assert_int_equal(r.state, RELOAD_LATE);
    while (r.said.len < strlen("begun\nhere\n")) {
        reload_tend(&r, end);
    }
    reload_tend(&r, reload_deadline(&r));
    wait_for_end();
    assert_int_equal(r.state, RELOAD_REFUSED);
    assert_non_null(strstr(buf_cstr(&r.said), "begun\nhere\nReload refused: the trial of the new release takes too"));
    reload_finish(&r);
}

static void test_trial_that_is_killed_is_refused(void **state)
{
    (void)state;
    try_script("kill -SEGV $$");
    wait_for_end();
    assert_int_equal(r.state, RELOAD_REFUSED);
    reload_finish(&r);
}

static void test_what_it_leaves_in_the_background_is_not_waited_for(void **state)
{
    (void)state;
    try_script("exec 3<&0; sleep 30 & echo $! >&2; exit 0");
    wait_for_end();
    assert_int_equal(r.state, RELOAD_GOOD);
    kill((pid_t)strtol(buf_cstr(&r.said), NULL, 10), SIGKILL);
    reload_finish(&r);
}

static void test_newer_trial_takes_the_place_of_the_older(void **state)
{
    (void)state;
    try_script("sleep 30");
    pid_t first = r.trial;
    reload_start(&r);
    int status;
    assert_int_equal(waitpid(first, &status, 0), first);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    assert_int_equal(r.number, 2);
    assert_int_equal(r.state, RELOAD_TRYING);
    pid_t second = r.trial;
    reload_finish(&r);
    assert_int_equal(waitpid(second, &status, 0), second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trial_runs_the_program_with_check_config_first),
        cmocka_unit_test(test_end_of_a_long_text_is_kept),
        cmocka_unit_test(test_line_in_two_pieces_is_one_in_the_log),
        cmocka_unit_test(test_trial_that_takes_too_long_is_asked_and_killed),
        cmocka_unit_test(test_trial_that_is_killed_is_refused),
        cmocka_unit_test(test_what_it_leaves_in_the_background_is_not_waited_for),
        cmocka_unit_test(test_newer_trial_takes_the_place_of_the_older),
    };
    int fd = mkstemp(program);
    close(mkstemp(log_path));
    if (fd < 0 || fchmod(fd, 0700) < 0 || log_open(log_path, LOG_LEVEL_INFO) < 0) {
        return 1;
    }
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    log_close();
    unlink(program);
    unlink(log_path);
    return failed;
}

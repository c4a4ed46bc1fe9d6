/* test_reload.c - the gate of a reload. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/log.h"
#include "server/config/settings.h"
#include "server/process/daemon.h"
#include "server/process/reload.h"

static void test_trial_runs_the_program_with_check_config_first(void **state)
{
    (void)state;
    char log[] = "/tmp/test_reexec.XXXXXX", got[256] = "";
    int fd = mkstemp(log);
    assert_true(fd >= 0);
    assert_int_equal(log_open(log, LOG_LEVEL_INFO), 0);
    char *argv[] = {(char *)"sh", (char *)"--", (char *)"app", NULL};
    char *env[] = {(char *)"CWSGI_HANDOVER=5", NULL};
    char script[] = "/tmp/test_trial.XXXXXX";
    int out = mkostemp(script, O_CLOEXEC);
    dprintf(out, "#!/bin/sh\necho \"$* $PWD ${CWSGI_HANDOVER-none}\"\nexit 7\n");
    fchmod(out, 0700);
    close(out);

    const struct launch l = {.program = script, .cwd = (char *)"/usr", .argc = 3, .argv = argv, .env = env};
    const struct settings s = {.timeout = 5};
    struct reload r = {.launch = &l, .settings = &s};
    assert_int_equal(reload_start(&r, 1), 0);
    assert_true(r.trial > 0);
    assert_int_equal(reload_deadline(&r), 1 + 30 * 1000000);
    int status;
    assert_int_equal(waitpid(r.trial, &status, 0), r.trial);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_true(read(fd, got, sizeof(got) - 1) > 0);
    assert_string_equal(got, "--check-config -- app /usr none\n");
    assert_false(reload_ended(&r, status));
    assert_int_equal(reload_deadline(&r), 0);
    log_close();
    close(fd);
    unlink(log);
    unlink(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trial_runs_the_program_with_check_config_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_cli.c - what a command line means, and what is said of a wrong one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/config/cli.h"
#include "server/config/words.h"

struct fixture {
    struct cli c;
    struct buf message;
    struct settings s;
};

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (!f) {
        return -1;
    }
    unsetenv("GUNICORN_CMD_ARGS");
    unsetenv("CWSGI_CMD_ARGS");
    unsetenv("PORT");
    unsetenv("WEB_CONCURRENCY");
    *state = f;
    return settings_init(&f->s, &f->message);
}

static int end(void **state)
{
    struct fixture *f = *state;
    cli_finish(&f->c);
    settings_finish(&f->s);
    buf_finish(&f->message);
    free(f);
    return 0;
}

/* Splits `line` and parses it as argv. */
static bool parse(struct fixture *f, const char *line)
{
    struct strings words = {0};
    char *argv[20] = {(char[]){"cwsgi"}};
    assert_int_equal(words_split(line, &words), 0);
    assert_true(words.n < 19);
    for (size_t i = 0; i < words.n; i++) {
        argv[i + 1] = words.v[i];
    }
    cli_finish(&f->c);
    f->message.len = 0;
    bool go_on = cli_parse(&f->c, (int)words.n + 1, argv, &f->message);
    words_finish(&words);
    return go_on;
}

/* Parses the line and puts it into new settings. */
static const struct settings *run(struct fixture *f, const char *line)
{
    settings_finish(&f->s);
    assert_int_equal(settings_init(&f->s, &f->message), 0);
    if (!parse(f, line) || cli_apply(&f->c, &f->s, &f->message) < 0) {
        fail_msg("%s: %s", line, buf_cstr(&f->message));
    }
    return &f->s;
}

static void leaves(struct fixture *f, const char *line, int status, const char *message)
{
    assert_false(parse(f, line));
    assert_int_equal(f->c.status, status);
    assert_string_equal(buf_cstr(&f->message), message);
}

#define USAGE "usage: cwsgi [OPTIONS] [APP_MODULE]\n"

static void test_a_command_line_becomes_settings(void **state)
{
    struct fixture *f = *state;
    const struct settings *s = run(f, "-w 3 -b 0.0.0.0:8080 --certfile c.pem --keyfile=k.pem -D -p logs/pid hello:app");
    assert_int_equal(s->workers, 3);
    assert_string_equal(s->bind.v[0], "0.0.0.0:8080");
    assert_string_equal(s->certfile, "c.pem");
    assert_string_equal(s->keyfile, "k.pem");
    assert_true(s->daemon);
    assert_string_equal(s->pidfile, "logs/pid");
    assert_string_equal(f->c.application, "hello:app");
    assert_string_equal(s->default_proc_name, "hello:app");
    assert_string_equal(cli_application(&f->c, s, &f->message), "hello:app");
}

static void test_nothing_given_changes_nothing(void **state)
{
    struct fixture *f = *state;
    const struct settings *s = run(f, "");
    assert_int_equal(s->workers, 1);
    assert_null(f->c.application);
    assert_null(f->c.config);
    assert_null(cli_application(&f->c, s, &f->message));
    assert_non_null(strstr(buf_cstr(&f->message), "No application module specified"));
}

static void test_values_stand_in_the_same_word_or_the_next(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run(f, "-w3")->workers, 3);
    assert_int_equal(run(f, "-w 3")->workers, 3);
    assert_int_equal(run(f, "-w=3")->workers, 3);
    assert_int_equal(run(f, "--workers 3")->workers, 3);
    assert_int_equal(run(f, "--workers=3")->workers, 3);
    assert_string_equal(run(f, "-eA=b=c")->raw_env.v[0], "A=b=c");
    assert_string_equal(run(f, "--certfile=")->certfile, "");
    assert_string_equal(run(f, "--certfile ''")->certfile, "");
    assert_string_equal(run(f, "--access-logfile - app")->accesslog, "-");
    assert_string_equal(run(f, "--access-logformat '-%(h)s x'")->access_log_format, "-%(h)s x");
}

static void test_short_switches_combine(void **state)
{
    struct fixture *f = *state;
    const struct settings *s = run(f, "-DRw4");
    assert_true(s->daemon);
    assert_true(s->enable_stdio_inheritance);
    assert_int_equal(s->workers, 4);
    s = run(f, "-RDn name");
    assert_true(s->daemon);
    assert_string_equal(s->proc_name, "name");
}

static void test_switches_take_no_value(void **state)
{
    struct fixture *f = *state;
    leaves(f, "--daemon=1", 2, USAGE "cwsgi: error: argument -D/--daemon: ignored explicit argument 1\n");
    leaves(f, "-Dx", 2, USAGE "cwsgi: error: argument -D/--daemon: ignored explicit argument x\n");
    assert_true(parse(f, "--preload hello:app"));
    assert_string_equal(f->c.application, "hello:app");
}

static void test_a_switch_may_switch_off(void **state)
{
    struct fixture *f = *state;
    assert_true(run(f, "")->sendfile);
    assert_false(run(f, "--no-sendfile")->sendfile);
    assert_true(run(f, "--no-control-socket")->control_socket_disable);
}

static void test_lists_add_up_and_others_keep_the_last_value(void **state)
{
    struct fixture *f = *state;
    const struct settings *s = run(f, "-b :1 -w 2 --bind :2,:3 -w 5 -e A=1,2 -e B=2");
    assert_int_equal(s->bind.n, 3);
    assert_string_equal(s->bind.v[0], ":1");
    assert_string_equal(s->bind.v[2], ":3");
    assert_int_equal(s->workers, 5);
    assert_int_equal(s->raw_env.n, 2);
    assert_string_equal(s->raw_env.v[0], "A=1,2");
    s = run(f, "--forwarded-allow-ips 1.1.1.1,2.2.2.2 --forwarded-allow-ips 3.3.3.3");
    assert_int_equal(s->forwarded_allow_ips.n, 1);
}

static void test_both_names_of_an_option_mean_the_same(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(run(f, "--log-file a.log")->errorlog, "a.log");
    assert_string_equal(run(f, "--error-logfile a.log --log-file b.log")->errorlog, "b.log");
}

static void test_a_missing_value_is_an_error(void **state)
{
    struct fixture *f = *state;
    const char *message = USAGE "cwsgi: error: argument -w/--workers: expected one argument\n";
    leaves(f, "-w", 2, message);
    leaves(f, "--workers", 2, message);
    leaves(f, "--workers --daemon", 2, message);
    leaves(f, "--workers -- app", 2, message);
    leaves(f, "--log-file", 2, USAGE "cwsgi: error: argument --error-logfile/--log-file: expected one argument\n");
}

static void test_a_value_may_be_left_out_where_the_table_says_so(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(run(f, "--proxy-protocol")->proxy_protocol, "auto");
    assert_string_equal(run(f, "--proxy-protocol -w 2")->proxy_protocol, "auto");
    assert_string_equal(run(f, "--proxy-protocol v2")->proxy_protocol, "v2");
    assert_string_equal(run(f, "--proxy-protocol=off")->proxy_protocol, "off");
}

static void test_a_value_may_stand_behind_an_equals_sign_only(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(run(f, "hello:app")->preload_app, SETTING_FALSE);
    assert_int_equal(run(f, "--preload hello:app")->preload_app, SETTING_TRUE);
    assert_string_equal(f->c.application, "hello:app");
    assert_int_equal(run(f, "--preload=auto hello:app")->preload_app, SETTING_AUTO);
    assert_int_equal(run(f, "--preload=false --pre=1")->preload_app, SETTING_TRUE);
    assert_true(parse(f, "--preload="));
    assert_int_equal(cli_apply(&f->c, &f->s, &f->message), -1);
}

static void test_negative_numbers_are_values(void **state)
{
    struct fixture *f = *state;
    assert_true(parse(f, "--timeout -1"));
    assert_int_equal(cli_apply(&f->c, &f->s, &f->message), -1);
    assert_string_equal(buf_cstr(&f->message), "Invalid value for timeout: -1: it must be a whole number from 0 to "
                                               "2147483 (from the command line)");
    assert_true(parse(f, "--name -.5"));
    assert_false(parse(f, "--name -.x"));
}

static void test_long_options_may_be_abbreviated_while_only_one_fits(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(run(f, "--access-logfi a.log")->accesslog, "a.log");
    assert_string_equal(run(f, "--certf d.pem")->certfile, "d.pem");
    assert_int_equal(run(f, "--graceful=9")->graceful_timeout, 9);
    assert_true(run(f, "--reload")->reload); /* exact, though others begin with it */
    leaves(f, "--access-log=x", 2,
           USAGE "cwsgi: error: ambiguous option: --access-log=x could match --access-logfile, --access-logformat\n");
    leaves(f, "--worker", 2,
           USAGE "cwsgi: error: ambiguous option: --worker could match --workers, --worker-class, "
                 "--worker-connections, --worker-lifetime, --worker-tmp-dir\n");
}

static void test_an_abbreviation_of_both_names_of_one_option_is_no_riddle(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(run(f, "--paster /x.ini")->paste, "/x.ini");
    assert_string_equal(run(f, "--paste /x.ini")->paste, "/x.ini");
    assert_false(parse(f, "--past x.ini")); /* --paste-global, too */
    assert_false(parse(f, "--l x"));        /* both names of one are among many */
}

static void test_unknown_options_leave_with_2_and_the_nearest_name(void **state)
{
    struct fixture *f = *state;
    leaves(f, "--wrokers 3 hello:app", 2,
           USAGE "cwsgi: error: unrecognized arguments: --wrokers; did you mean --workers?\n");
    leaves(f, "--keep-alvie=3", 2,
           USAGE "cwsgi: error: unrecognized arguments: --keep-alvie=3; did you mean --keep-alive?\n");
    leaves(f, "--limit-request-field-size 1", 2,
           USAGE "cwsgi: error: unrecognized arguments: --limit-request-field-size; did you mean "
                 "--limit-request-field_size?\n");
    leaves(f, "--quiet-please", 2, USAGE "cwsgi: error: unrecognized arguments: --quiet-please\n");
    leaves(f, "-x", 2, USAGE "cwsgi: error: unrecognized arguments: -x\n");
    leaves(f, "--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 2,
           USAGE "cwsgi: error: unrecognized arguments: "
                 "--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
}

static void test_one_application_only(void **state)
{
    struct fixture *f = *state;
    leaves(f, "a:b -w 2 c:d e:f", 2, USAGE "cwsgi: error: unrecognized arguments: c:d e:f\n");
}

static void test_all_behind_two_dashes_is_no_option(void **state)
{
    struct fixture *f = *state;
    run(f, "-w 2 -- --daemon");
    assert_string_equal(f->c.application, "--daemon");
    assert_false(f->s.daemon);
    leaves(f, "-- a --", 2, USAGE "cwsgi: error: unrecognized arguments: --\n");
}

static void test_version_and_help_leave_with_0(void **state)
{
    struct fixture *f = *state;
    leaves(f, "-v", 0, "cwsgi (version " CWSGI_VERSION ")\n");
    leaves(f, "--version --wrong", 0, "cwsgi (version " CWSGI_VERSION ")\n");
    assert_false(parse(f, "-h"));
    assert_int_equal(f->c.status, 0);
    assert_false(parse(f, "-w 3 --help"));
    assert_int_equal(f->c.status, 0);
}

static void test_help_shows_every_flag_on_lines_that_fit_a_terminal(void **state)
{
    struct fixture *f = *state;
    const struct setting *rows = settings_table();
    assert_false(parse(f, "--help"));
    const char *text = buf_cstr(&f->message);
    assert_memory_equal(text, USAGE, strlen(USAGE));
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (rows[i].flags) {
            char flag[64];
            assert_int_equal(sscanf(strstr(rows[i].flags, "--"), "%63[^, ]", flag), 1);
            assert_non_null(strstr(text, flag));
        }
    }
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        assert_true(strcspn(line, "\n") < 80);
    }
    assert_non_null(strstr(text, "\n  -b, --bind ADDRESS "));
    assert_non_null(strstr(text, "\nWorker Processes:\n  -w, --workers INT "));
    assert_non_null(strstr(text, "($WEB_CONCURRENCY)"));
    assert_null(strstr(text, "Server Hooks"));
}

static void test_variables_give_options_below_the_command_line(void **state)
{
    struct fixture *f = *state;
    setenv("GUNICORN_CMD_ARGS", "-w 2 --bind=:1 -b :2 --timeout 9 ignored:app", 1);
    setenv("CWSGI_CMD_ARGS", "--timeout 8 -n 'my name'", 1);
    const struct settings *s = run(f, "-w 3 hello:app");
    assert_int_equal(s->workers, 3);
    assert_int_equal(s->timeout, 8);
    assert_int_equal(s->bind.n, 2);
    assert_string_equal(s->proc_name, "my name");
    assert_string_equal(f->c.application, "hello:app");
    s = run(f, "-b :9");
    assert_int_equal(s->bind.n, 1);
    assert_string_equal(s->bind.v[0], ":9");
    assert_int_equal(s->workers, 2);
    assert_null(f->c.application);
}

static void test_values_of_a_file_lie_below_all_options(void **state)
{
    struct fixture *f = *state;
    const char *seven = "7";
    setenv("GUNICORN_CMD_ARGS", "--timeout 9", 1);
    run(f, "-w 3");
    assert_int_equal(settings_set(&f->s, "workers", &seven, 1, SETTINGS_FILE, &f->message), 0);
    assert_int_equal(settings_set(&f->s, "timeout", &seven, 1, SETTINGS_FILE, &f->message), 0);
    assert_int_equal(settings_set(&f->s, "keepalive", &seven, 1, SETTINGS_FILE, &f->message), 0);
    assert_int_equal(settings_set(&f->s, "wsgi_app", &seven, 1, SETTINGS_FILE, &f->message), 0);
    assert_int_equal(f->s.workers, 3);
    assert_int_equal(f->s.timeout, 9);
    assert_int_equal(f->s.keepalive, 7);
    assert_string_equal(cli_application(&f->c, &f->s, &f->message), "7");
}

static void test_the_config_file_is_the_last_of_the_latest_source(void **state)
{
    struct fixture *f = *state;
    setenv("GUNICORN_CMD_ARGS", "-c g.py", 1);
    run(f, "");
    assert_string_equal(f->c.config, "g.py");
    setenv("CWSGI_CMD_ARGS", "--config c1.py -c c2.py", 1);
    run(f, "");
    assert_string_equal(f->c.config, "c2.py");
    assert_string_equal(run(f, "-c python:conf")->config, "python:conf");
    assert_string_equal(f->c.config, "python:conf");
    run(f, "-c ''");
    assert_string_equal(f->c.config, "c2.py");
}

static void test_errors_in_variables_name_the_variable(void **state)
{
    struct fixture *f = *state;
    setenv("GUNICORN_CMD_ARGS", "--wrokers 3", 1);
    leaves(f, "", 2,
           USAGE "cwsgi: error: in GUNICORN_CMD_ARGS: unrecognized arguments: --wrokers; did you mean --workers?\n");
    setenv("GUNICORN_CMD_ARGS", "-n 'x", 1);
    leaves(f, "", 1, "GUNICORN_CMD_ARGS: a quote or a backslash has no end\n");
}

static void test_a_wrong_value_names_its_source(void **state)
{
    struct fixture *f = *state;
    setenv("CWSGI_CMD_ARGS", "-w x", 1);
    assert_true(parse(f, "-w 3"));
    assert_int_equal(cli_apply(&f->c, &f->s, &f->message), -1);
    assert_string_equal(buf_cstr(&f->message),
                        "Invalid value for workers: x: it must be a whole number from 1 to 4096, or auto "
                        "(from CWSGI_CMD_ARGS)");
}

static void splits(const char *text, const char *joined)
{
    struct strings words = {0};
    struct buf got = {0};
    assert_int_equal(words_split(text, &words), 0);
    for (size_t i = 0; i < words.n; i++) {
        assert_int_equal(buf_printf(&got, "%s|", words.v[i]), 0);
    }
    assert_string_equal(buf_cstr(&got), joined);
    buf_finish(&got);
    words_finish(&words);
}

static void test_words_are_split_as_a_shell_splits_them(void **state)
{
    (void)state;
    splits("", "");
    splits("  a\tb\n c ", "a|b|c|");
    splits("'a b' \"c d\" e'f 'g\" h\"", "a b|c d|ef g h|");
    splits("'' \"\" x", "||x|");
    splits("a\\ b \\' \\\\ \\a", "a b|'|\\|a|");
    splits("\"a\\\"b\\\\c\\d'\" '\\x\"'", "a\"b\\c\\d'|\\x\"|");
    splits("# no comment", "#|no|comment|");
}

static void test_quotes_and_backslashes_need_an_end(void **state)
{
    (void)state;
    static const char *const open[] = {"'a", "a \"b", "a\\", "\"a\\", "'a\\' '"};
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        struct strings words = {0};
        assert_int_equal(words_split(open[i], &words), -EINVAL);
        assert_int_equal(words.n, 0);
        assert_null(words.v);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_command_line_becomes_settings),
        TEST(test_nothing_given_changes_nothing),
        TEST(test_values_stand_in_the_same_word_or_the_next),
        TEST(test_short_switches_combine),
        TEST(test_switches_take_no_value),
        TEST(test_a_switch_may_switch_off),
        TEST(test_lists_add_up_and_others_keep_the_last_value),
        TEST(test_both_names_of_an_option_mean_the_same),
        TEST(test_a_missing_value_is_an_error),
        TEST(test_a_value_may_be_left_out_where_the_table_says_so),
        TEST(test_a_value_may_stand_behind_an_equals_sign_only),
        TEST(test_negative_numbers_are_values),
        TEST(test_long_options_may_be_abbreviated_while_only_one_fits),
        TEST(test_an_abbreviation_of_both_names_of_one_option_is_no_riddle),
        TEST(test_unknown_options_leave_with_2_and_the_nearest_name),
        TEST(test_one_application_only),
        TEST(test_all_behind_two_dashes_is_no_option),
        TEST(test_version_and_help_leave_with_0),
        TEST(test_help_shows_every_flag_on_lines_that_fit_a_terminal),
        TEST(test_variables_give_options_below_the_command_line),
        TEST(test_values_of_a_file_lie_below_all_options),
        TEST(test_the_config_file_is_the_last_of_the_latest_source),
        TEST(test_errors_in_variables_name_the_variable),
        TEST(test_a_wrong_value_names_its_source),
        TEST(test_words_are_split_as_a_shell_splits_them),
        TEST(test_quotes_and_backslashes_need_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

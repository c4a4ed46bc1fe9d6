/* test_settings.c - what text makes of the settings, which source wins, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/processors.h"
#include "server/config/settings.h"

struct fixture {
    struct settings s;
    struct buf error;
};

static const char *const variables[] = {"WEB_CONCURRENCY", "PORT", "SENDFILE", "FORWARDED_ALLOW_IPS"};

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    if (!f) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        unsetenv(variables[i]);
    }
    *state = f;
    return settings_init(&f->s, &f->error);
}

static int end(void **state)
{
    struct fixture *f = *state;
    settings_finish(&f->s);
    buf_finish(&f->error);
    free(f);
    return 0;
}

static void restart(struct fixture *f)
{
    settings_finish(&f->s);
    assert_int_equal(settings_init(&f->s, &f->error), 0);
}

static int set_from(struct fixture *f, const char *name, const char *value, enum settings_source source)
{
    return settings_set(&f->s, name, &value, 1, source, &f->error);
}

static void set(struct fixture *f, const char *name, const char *value)
{
    if (set_from(f, name, value, SETTINGS_FILE) < 0) {
        fail_msg("%s", buf_cstr(&f->error));
    }
}

static void refuses(struct fixture *f, const char *name, const char *value, const char *message)
{
    f->error.len = 0;
    assert_int_equal(set_from(f, name, value, SETTINGS_COMMAND_LINE), -1);
    assert_string_equal(buf_cstr(&f->error), message);
}

/* The setting can be given, but settings_check fails and says `message`. */
static void check_refuses(struct fixture *f, const char *name, const char *value, const char *message)
{
    f->error.len = 0;
    restart(f);
    set(f, name, value);
    assert_int_equal(settings_check(&f->s, &f->error), -1);
    assert_string_equal(buf_cstr(&f->error), message);
}

static void check_takes(struct fixture *f, const char *name, const char *value)
{
    f->error.len = 0;
    restart(f);
    set(f, name, value);
    if (settings_check(&f->s, &f->error) < 0) {
        fail_msg("%s", buf_cstr(&f->error));
    }
}

/* The value of one line of --print-config. */
static void prints(struct fixture *f, const char *name, const char *value)
{
    struct buf all = {0}, line = {0};
    assert_int_equal(settings_print(&f->s, &all), 0);
    assert_int_equal(buf_printf(&line, "\n%-34s = %s\n", name, value), 0);
    if (!strstr(buf_cstr(&all), line.data)) {
        fail_msg("no line '%s' in:\n%s", line.data, all.data);
    }
    buf_finish(&all);
    buf_finish(&line);
}

static void test_defaults_are_gunicorns(void **state)
{
    struct fixture *f = *state;
    const struct settings *s = &f->s;
    assert_int_equal(s->bind.n, 1);
    assert_string_equal(s->bind.v[0], "127.0.0.1:8000");
    assert_int_equal(s->workers, 1);
    assert_int_equal(s->threads, 1);
    assert_int_equal(s->timeout, 30);
    assert_int_equal(s->graceful_timeout, 30);
    assert_int_equal(s->keepalive, 2);
    assert_int_equal(s->backlog, 2048);
    assert_int_equal(s->worker_connections, 1000);
    assert_int_equal(s->limit_request_line, 4094);
    assert_int_equal(s->limit_request_fields, 100);
    assert_int_equal(s->limit_request_field_size, 8190);
    assert_int_equal(s->limit_request_body, 1073741824);
    assert_int_equal(s->umask, 0);
    assert_int_equal(settings_log_level(s), LOG_LEVEL_INFO);
    assert_string_equal(s->errorlog, "-");
    assert_null(s->accesslog);
    assert_null(s->certfile);
    assert_null(s->user);
    assert_int_equal(s->raw_env.n, 0);
    assert_true(s->sendfile);
    assert_true(s->suppress_ragged_eofs);
    assert_false(s->daemon);
    assert_int_equal(settings_check(s, &f->error), 0);
}

static void test_environment_gives_defaults(void **state)
{
    struct fixture *f = *state;
    setenv("WEB_CONCURRENCY", "4", 1);
    setenv("PORT", "5000", 1);
    setenv("SENDFILE", "no", 1);
    setenv("FORWARDED_ALLOW_IPS", "10.0.0.1, 10.0.0.2", 1);
    restart(f);
    assert_int_equal(f->s.workers, 4);
    assert_int_equal(f->s.bind.n, 1);
    assert_string_equal(f->s.bind.v[0], "0.0.0.0:5000");
    assert_false(f->s.sendfile);
    assert_int_equal(f->s.forwarded_allow_ips.n, 2);
    assert_string_equal(f->s.forwarded_allow_ips.v[1], "10.0.0.2");
}

static void test_empty_variables_are_none_but_an_empty_list_trusts_nobody(void **state)
{
    struct fixture *f = *state;
    setenv("WEB_CONCURRENCY", "", 1);
    setenv("PORT", "", 1);
    setenv("FORWARDED_ALLOW_IPS", "", 1);
    restart(f);
    assert_int_equal(f->s.workers, 1);
    assert_string_equal(f->s.bind.v[0], "127.0.0.1:8000");
    assert_int_equal(f->s.forwarded_allow_ips.n, 0);
}

static void test_a_bad_variable_is_an_error_that_names_its_setting(void **state)
{
    struct fixture *f = *state;
    setenv("WEB_CONCURRENCY", "many", 1);
    settings_finish(&f->s);
    assert_int_equal(settings_init(&f->s, &f->error), -1);
    assert_string_equal(buf_cstr(&f->error),
                        "Invalid value for workers: many: it must be a whole number from 1 to 4096, or auto "
                        "(from the environment)");
}

static void test_numbers_out_of_range_are_refused_with_the_range(void **state)
{
    struct fixture *f = *state;
    refuses(f, "workers", "0",
            "Invalid value for workers: 0: it must be a whole number from 1 to 4096, or auto (from the command line)");
    refuses(f, "workers", "-3",
            "Invalid value for workers: -3: it must be a whole number from 1 to 4096, or auto (from the command line)");
    refuses(
        f, "workers", "3.5",
        "Invalid value for workers: 3.5: it must be a whole number from 1 to 4096, or auto (from the command line)");
    refuses(
        f, "workers", "99999999999999999999",
        "Invalid value for workers: 99999999999999999999: it must be a whole number from 1 to 4096, or auto (from the "
        "command line)");
    refuses(f, "timeout", "-1",
            "Invalid value for timeout: -1: it must be a whole number from 0 to 2147483 (from the command line)");
    refuses(f, "backlog", "",
            "Invalid value for backlog: : it must be a whole number from 1 to 2147483647 (from the command line)");
    refuses(f, "backlog", "12x",
            "Invalid value for backlog: 12x: it must be a whole number from 1 to 2147483647 (from the command line)");
    assert_int_equal(f->s.workers, 1);
}

static void test_white_space_around_values_is_dropped(void **state)
{
    struct fixture *f = *state;
    set(f, "workers", " 7\n");
    set(f, "certfile", " a b.pem ");
    set(f, "bind", " :1 ,\t:2 , ");
    assert_int_equal(f->s.workers, 7);
    assert_string_equal(f->s.certfile, "a b.pem");
    assert_int_equal(f->s.bind.n, 2);
    assert_string_equal(f->s.bind.v[0], ":1");
    assert_string_equal(f->s.bind.v[1], ":2");
}

static void test_sizes_may_pass_two_gigabytes(void **state)
{
    struct fixture *f = *state;
    set(f, "limit_request_body", "6442450944");
    assert_true(f->s.limit_request_body == 6442450944U);
    prints(f, "limit_request_body", "6442450944");
}

static void test_sizes_may_have_a_unit(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        size_t bytes;
    } good[] = {{"64K", 65536}, {"300m", 314572800}, {"2G", 2147483648}, {"0K", 0}};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(settings_set(&f->s, "memory_budget", &good[i].text, 1, SETTINGS_FILE, &f->error), 0);
        assert_int_equal(f->s.memory_budget, good[i].bytes);
    }
    const char *bad[] = {"K", "3T", "3KB", "9223372036854775807K", "-9223372036854775807K", "-1M", "3 M", "1.5G"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(settings_set(&f->s, "memory_budget", &bad[i], 1, SETTINGS_FILE, &f->error), -1);
    }
    const char *number = "3K";
    assert_int_equal(settings_set(&f->s, "backlog", &number, 1, SETTINGS_FILE, &f->error), -1);
}

static void test_umask_is_octal_with_a_leading_zero_only(void **state)
{
    struct fixture *f = *state;
    set(f, "umask", "022");
    assert_int_equal(f->s.umask, 022);
    set(f, "umask", "0o77");
    assert_int_equal(f->s.umask, 077);
    set(f, "umask", "18");
    assert_int_equal(f->s.umask, 18);
    set(f, "umask", "0");
    assert_int_equal(f->s.umask, 0);
    refuses(f, "umask", "088",
            "Invalid value for umask: 088: it must be a number from 0 to 0777 (from the command line)");
    refuses(f, "umask", "01000",
            "Invalid value for umask: 01000: it must be a number from 0 to 0777 (from the command line)");
}

static void test_bools_are_words(void **state)
{
    struct fixture *f = *state;
    set(f, "daemon", "True");
    assert_true(f->s.daemon);
    set(f, "daemon", "off");
    assert_false(f->s.daemon);
    refuses(f, "daemon", "maybe", "Invalid value for daemon: maybe: it must be true or false (from the command line)");
    refuses(f, "daemon", "", "Invalid value for daemon: : it must be true or false (from the command line)");
}

static void test_log_levels_are_names_of_any_case(void **state)
{
    struct fixture *f = *state;
    set(f, "loglevel", "DEBUG");
    assert_int_equal(settings_log_level(&f->s), LOG_LEVEL_DEBUG);
    set(f, "loglevel", "critical");
    assert_int_equal(settings_log_level(&f->s), LOG_LEVEL_CRITICAL);
    set(f, "loglevel", "Error");
    prints(f, "loglevel", "Error");
}

static void test_an_unknown_log_level_is_info(void **state)
{
    struct fixture *f = *state;
    set(f, "loglevel", "chatty");
    assert_int_equal(settings_log_level(&f->s), LOG_LEVEL_INFO);
}

static void test_choices_are_named_when_none_fits(void **state)
{
    struct fixture *f = *state;
    set(f, "header_map", "Refuse");
    refuses(f, "header_map", "keep",
            "Invalid value for header_map: keep: it must be one of drop, refuse, dangerous (from the command line)");
    refuses(f, "header_map", "dro",
            "Invalid value for header_map: dro: it must be one of drop, refuse, dangerous (from the command line)");
}

static void test_choices_are_spelt_as_in_the_table(void **state)
{
    struct fixture *f = *state;
    set(f, "header_map", "REFUSE");
    prints(f, "header_map", "refuse");
    set(f, "proxy_protocol", "V2");
    prints(f, "proxy_protocol", "v2");
    set(f, "proxy_protocol", "True");
    prints(f, "proxy_protocol", "auto");
    refuses(f, "proxy_protocol", "v3",
            "Invalid value for proxy_protocol: v3: it must be one of off, auto, v1, v2 (from the command line)");
}

static void test_numbers_may_be_hexadecimal_or_octal(void **state)
{
    struct fixture *f = *state;
    set(f, "workers", "0x10");
    assert_int_equal(f->s.workers, 16);
    set(f, "timeout", "0o17");
    assert_int_equal(f->s.timeout, 15);
    set(f, "timeout", "017");
    assert_int_equal(f->s.timeout, 17);
    set(f, "umask", "022");
    assert_int_equal(f->s.umask, 18);
    set(f, "umask", "0x12");
    assert_int_equal(f->s.umask, 18);
}

static void test_workers_may_follow_the_processors(void **state)
{
    struct fixture *f = *state;
    set(f, "workers", "auto");
    assert_int_equal(f->s.workers, 2 * processors_usable() + 1);
    refuses(f, "threads", "auto",
            "Invalid value for threads: auto: it must be a whole number from 1 to 2147483647 (from the command line)");
}

static void test_an_endpoint_is_printed_as_python_keeps_it(void **state)
{
    struct fixture *f = *state;
    set(f, "statsd_host", "localhost:8126");
    prints(f, "statsd_host", "('localhost', 8126)");
    set(f, "statsd_host", "::1");
    set(f, "statsd_host", "[::1]");
    prints(f, "statsd_host", "('::1', 8125)");
    set(f, "statsd_host", "stats");
    prints(f, "statsd_host", "('stats', 8125)");
    set(f, "statsd_host", "unix:///run/statsd");
    prints(f, "statsd_host", "/run/statsd");
    set(f, "statsd_host", "unix:/run/statsd");
    prints(f, "statsd_host", "/run/statsd");
    set(f, "statsd_host", "unix:8126");
    prints(f, "statsd_host", "('unix', 8126)");
}

static void test_only_lists_take_several_values(void **state)
{
    struct fixture *f = *state;
    const char *two[] = {"A=1,2", "B=3"};
    assert_int_equal(settings_set(&f->s, "raw_env", two, 2, SETTINGS_FILE, &f->error), 0);
    assert_int_equal(f->s.raw_env.n, 2);
    assert_string_equal(f->s.raw_env.v[0], "A=1,2");
    assert_int_equal(settings_set(&f->s, "bind", two, 2, SETTINGS_FILE, &f->error), 0);
    assert_int_equal(f->s.bind.n, 3);
    assert_int_equal(settings_set(&f->s, "pidfile", two, 2, SETTINGS_FILE, &f->error), -1);
}

static void test_none_is_the_default_or_an_empty_list_but_no_number(void **state)
{
    struct fixture *f = *state;
    set(f, "errorlog", "x.log");
    assert_int_equal(settings_set(&f->s, "errorlog", NULL, 0, SETTINGS_FILE, &f->error), 0);
    assert_string_equal(f->s.errorlog, "-");
    set(f, "certfile", "x.pem");
    assert_int_equal(settings_set(&f->s, "certfile", NULL, 0, SETTINGS_FILE, &f->error), 0);
    assert_null(f->s.certfile);
    set(f, "raw_env", "A=1");
    assert_int_equal(settings_set(&f->s, "raw_env", NULL, 0, SETTINGS_FILE, &f->error), 0);
    assert_int_equal(f->s.raw_env.n, 0);
    assert_int_equal(settings_set(&f->s, "workers", NULL, 0, SETTINGS_FILE, &f->error), -1);
    assert_string_equal(buf_cstr(&f->error),
                        "Invalid value for workers: None: it needs a value (from the configuration file)");
}

static void test_unknown_names_are_an_error(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set_from(f, "wrokers", "1", SETTINGS_FILE), -1);
    assert_null(settings_find("wrokers"));
    assert_non_null(settings_find("workers"));
}

static void test_chdir_is_absolute_and_keeps_the_spelling_of_PWD(void **state)
{
    struct fixture *f = *state;
    char dir[] = "/tmp/test_settings.XXXXXX", link[64], before[4096];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_non_null(mkdtemp(dir));
    snprintf(link, sizeof(link), "%s.link", dir);
    assert_int_equal(symlink(dir, link), 0);
    assert_int_equal(chdir(link), 0);
    setenv("PWD", link, 1);
    restart(f);
    assert_string_equal(f->s.chdir, link);
    set(f, "chdir", "sub//./x/../y/");
    assert_string_equal(f->s.chdir + strlen(link), "/sub/y");
    set(f, "chdir", "/../..");
    assert_string_equal(f->s.chdir, "/");
    setenv("PWD", "/usr", 1); /* a lie */
    set(f, "chdir", ".");
    assert_string_equal(f->s.chdir, dir);
    assert_int_equal(chdir(before), 0);
    unlink(link);
    rmdir(dir);
}

static void test_the_later_source_wins_whatever_the_order(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set_from(f, "workers", "5", SETTINGS_COMMAND_LINE), 0);
    assert_int_equal(set_from(f, "workers", "2", SETTINGS_FILE), 0);
    assert_int_equal(set_from(f, "workers", "3", SETTINGS_GUNICORN_ARGS), 0);
    assert_int_equal(f->s.workers, 5);
    assert_int_equal(set_from(f, "bind", ":1", SETTINGS_GUNICORN_ARGS), 0);
    assert_int_equal(set_from(f, "bind", ":2", SETTINGS_CWSGI_ARGS), 0);
    assert_int_equal(set_from(f, "bind", ":3", SETTINGS_FILE), 0);
    assert_int_equal(f->s.bind.n, 1);
    assert_string_equal(f->s.bind.v[0], ":2");
}

static void test_a_wrong_value_is_an_error_even_when_overridden(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set_from(f, "workers", "5", SETTINGS_COMMAND_LINE), 0);
    assert_int_equal(set_from(f, "workers", "x", SETTINGS_FILE), -1);
    assert_int_equal(f->s.workers, 5);
}

static void test_given_but_empty_is_an_error(void **state)
{
    struct fixture *f = *state;
    check_refuses(f, "certfile", "",
                  "certfile is empty: give it a value or leave it out (from the configuration file)");
    check_refuses(f, "keyfile", " ", "keyfile is empty: give it a value or leave it out (from the configuration file)");
    check_refuses(f, "bind", ",", "bind is empty: give it a value or leave it out (from the configuration file)");
    check_refuses(f, "accesslog", "",
                  "accesslog is empty: give it a value or leave it out (from the configuration file)");
}

/* pidfile = os.getenv("PIDFILE", "") */
static void test_empty_is_not_given_where_gunicorn_takes_it_so(void **state)
{
    struct fixture *f = *state;
    check_takes(f, "pidfile", "");
    check_takes(f, "statsd_host", " ");
    check_takes(f, "control_socket", "");
    assert_null(f->s.pidfile);
    assert_null(f->s.statsd_host);
    assert_null(f->s.control_socket);
    check_takes(f, "chdir", "");
    assert_int_equal(f->s.chdir[0], '/'); /* the current directory, by its whole path */
}

static void test_none_is_the_default_where_gunicorn_takes_it(void **state)
{
    struct fixture *f = *state;
    struct buf error = {0};
    assert_int_equal(settings_set(&f->s, "preload_app", NULL, 0, SETTINGS_FILE, &error), 0);
    assert_int_equal(f->s.preload_app, SETTING_FALSE);
    assert_int_equal(settings_set(&f->s, "workers", NULL, 0, SETTINGS_FILE, &error), -1);
    buf_finish(&error);
}

static void test_a_certificate_may_hold_its_key_but_a_key_needs_a_certificate(void **state)
{
    struct fixture *f = *state;
    check_takes(f, "certfile", "both.pem");
    check_refuses(f, "keyfile", "k.pem", "keyfile is k.pem, but there is no certfile: name the certificate, too");
}

static void test_other_kinds_of_workers_are_refused_with_advice(void **state)
{
    struct fixture *f = *state;
    check_takes(f, "worker_class", "sync");
    check_takes(f, "worker_class", "gthread");
    check_takes(f, "worker_class", "gunicorn.workers.gthread.ThreadWorker");
    check_refuses(
        f, "worker_class", "gevent",
        "Invalid value for worker_class: gevent: cwsgi has one kind of worker, which serves WSGI applications as sync "
        "and gthread do; use --threads or -w for more at once (from the configuration file)");
    set(f, "worker_class", "gthread"); /* the last word counts */
    assert_int_equal(settings_check(&f->s, &f->error), 0);
}

static void test_what_would_change_safety_or_meaning_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const given[][2] = {
        {"protocol", "uwsgi"},
        {"strip_header_spaces", "true"},
        {"permit_obsolete_folding", "true"},
        {"http_protocols", "h2,h1"},
        {"permit_unconventional_http_version", "true"},
        {"ssl_context", "my_context"},
        {"http2_cleartext", "upgrade"},
    };
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        restart(f);
        set(f, given[i][0], given[i][1]);
        assert_int_equal(settings_check(&f->s, &f->error), -1);
    }
}

static void test_what_is_refused_may_be_given_as_its_default(void **state)
{
    struct fixture *f = *state;
    check_takes(f, "protocol", "http");
    check_takes(f, "strip_header_spaces", "false");
    check_takes(f, "http_protocols", "h1");
}

static void test_a_time_and_a_path_that_are_none_are_refused(void **state)
{
    struct fixture *f = *state;
    check_refuses(f, "check_path", "hello",
                  "Invalid value for check_path: hello: it must be a path such as /hello, or a URL (from the "
                  "configuration file)");
    check_refuses(f, "recycle_at", "25:00",
                  "Invalid value for recycle_at: 25:00: it must be a time of day such as 03:30 (from the "
                  "configuration file)");
}

static void test_users_and_directories_must_exist(void **state)
{
    struct fixture *f = *state;
    check_takes(f, "user", "root");
    prints(f, "user", "0");
    check_takes(f, "user", "12345");
    prints(f, "user", "12345");
    check_refuses(f, "user", "no-such-user",
                  "Invalid value for user: no-such-user: no such user (from the configuration file)");
    check_refuses(f, "user", "4294967295",
                  "Invalid value for user: 4294967295: no such user (from the configuration file)");
    check_refuses(f, "group", "no-such-group",
                  "Invalid value for group: no-such-group: no such group (from the configuration file)");
    check_refuses(f, "chdir", "/nonexistent",
                  "Invalid value for chdir: /nonexistent: No such file or directory (from the configuration file)");
    check_refuses(f, "chdir", "/dev/null",
                  "Invalid value for chdir: /dev/null: Not a directory (from the configuration file)");
}

static void test_environment_settings_need_an_equals_sign(void **state)
{
    struct fixture *f = *state;
    check_takes(f, "raw_env", "A=");
    check_refuses(f, "raw_env", "A",
                  "Invalid value for raw_env: A: it must look like NAME=VALUE (from the configuration file)");
    check_refuses(f, "raw_env", "=A",
                  "Invalid value for raw_env: =A: it must look like NAME=VALUE (from the configuration file)");
}

static void test_lists_of_front_ends_take_addresses_and_networks_only(void **state)
{
    struct fixture *f = *state;
    set(f, "forwarded_allow_ips", "*");
    set(f, "forwarded_allow_ips", "10.0.0.1, 192.0.2.0/24,fd00::/8 ,*,");
    assert_int_equal(f->s.forwarded_allow_ips.n, 4);
    assert_string_equal(f->s.forwarded_allow_ips.v[2], "fd00::/8");
    refuses(
        f, "forwarded_allow_ips", "10.0.0.1,localhost",
        "Invalid value for forwarded_allow_ips: localhost: it must be an address, a network such as 10.0.0.0/8, or * "
        "(from the command line)");
    refuses(f, "forwarded_allow_ips", "10.0.0.1/8",
            "Invalid value for forwarded_allow_ips: 10.0.0.1/8: the address has bits set behind the network's prefix "
            "(from the command line)");
    assert_int_equal(f->s.forwarded_allow_ips.n, 4);
    set(f, "forwarded_allow_ips", "");
    assert_int_equal(f->s.forwarded_allow_ips.n, 0);
}

static void test_pairs_are_lines_and_print_as_a_dict(void **state)
{
    struct fixture *f = *state;
    set(f, "secure_scheme_headers", "X-A=it's\nX-B=a=b, c\nX-C=");
    assert_int_equal(f->s.secure_scheme_headers.n, 3);
    assert_string_equal(f->s.secure_scheme_headers.v[1], "X-B=a=b, c");
    prints(f, "secure_scheme_headers", "{'X-A': \"it's\", 'X-B': 'a=b, c', 'X-C': ''}");
    refuses(f, "secure_scheme_headers", "X-A=1\nX-B",
            "Invalid value for secure_scheme_headers: X-B: it must look like NAME=VALUE (from the command line)");
    set(f, "secure_scheme_headers", "");
    prints(f, "secure_scheme_headers", "{}");
    f->error.len = 0;
    assert_int_equal(settings_set(&f->s, "secure_scheme_headers", NULL, 0, SETTINGS_FILE, &f->error), -1);
    assert_string_equal(
        buf_cstr(&f->error),
        "Invalid value for secure_scheme_headers: None: it needs a value (from the configuration file)");
}

static void test_settings_without_effect_are_warned_of_once_and_only_when_changed(void **state)
{
    struct fixture *f = *state;
    char path[] = "/tmp/test_settings.XXXXXX", text[1024] = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(log_open(path, LOG_LEVEL_INFO), 0);
    set(f, "asgi_loop", "uvloop");
    set(f, "reload", "false");        /* its default */
    set(f, "worker_tmp_dir", "/shm"); /* no effect, and nobody minds */
    settings_warn(&f->s);
    assert_int_equal(log_open("-", LOG_LEVEL_INFO), 0);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    const char *line = strstr(text, "setting asgi_loop has no effect in cwsgi: ");
    assert_non_null(line);
    assert_null(strstr(text, "reload"));
    assert_null(strstr(text, "worker_tmp_dir"));
    assert_string_equal(strchr(line, '\n'), "\n");
    close(fd);
    unlink(path);
}

static void test_the_table_is_sound(void **state)
{
    (void)state;
    const struct setting *rows = settings_table();
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (!rows[i].name) {
            assert_non_null(rows[i].section);
            continue;
        }
        assert_ptr_equal(settings_find(rows[i].name), &rows[i]);
        assert_non_null(rows[i].help);
        bool why = rows[i].support == SETTING_WARNED || rows[i].support == SETTING_REFUSED;
        assert_true(why == (rows[i].why != NULL));
        bool number = rows[i].type == SETTING_INT || rows[i].type == SETTING_SECONDS || rows[i].type == SETTING_OCTAL ||
                      rows[i].type == SETTING_SIZE;
        assert_true(!number || (rows[i].allowed && strstr(rows[i].allowed, "..")));
        assert_true(rows[i].type != SETTING_HOOK || !rows[i].flags);
    }
}

static void test_print_is_gunicorns(void **state)
{
    struct fixture *f = *state;
    const char *list[] = {"A=it's", "B=\"x\"", "C='\"\n"};
    assert_int_equal(settings_set(&f->s, "raw_env", list, 3, SETTINGS_FILE, &f->error), 0);
    set(f, "post_fork", "my_fork");
    prints(f, "raw_env", "[\"A=it's\", 'B=\"x\"', 'C=\\'\"']");
    prints(f, "post_fork", "<my_fork()>");
    prints(f, "when_ready", "<WhenReady.when_ready()>");
    prints(f, "certfile", "None");
    prints(f, "preload_app", "False");
    prints(f, "bind", "['127.0.0.1:8000']");
    prints(f, "control_socket_mode", "384");
    prints(f, "reload_extra_files", "[]");
    prints(f, "secure_scheme_headers",
           "{'X-FORWARDED-PROTOCOL': 'ssl', 'X-FORWARDED-PROTO': 'https', 'X-FORWARDED-SSL': 'on'}");
}

static void test_print_is_sorted_by_name(void **state)
{
    struct fixture *f = *state;
    struct buf all = {0};
    char last[64] = "", name[64];
    size_t n = 0;
    assert_int_equal(settings_print(&f->s, &all), 0);
    for (const char *line = buf_cstr(&all); *line; line = strchr(line, '\n') + 1) {
        assert_int_equal(sscanf(line, "%63s", name), 1);
        assert_true(strcmp(last, name) < 0);
        memcpy(last, name, sizeof(last));
        n++;
    }
    assert_true(n > 118);
    buf_finish(&all);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults_are_gunicorns),
        TEST(test_environment_gives_defaults),
        TEST(test_empty_variables_are_none_but_an_empty_list_trusts_nobody),
        TEST(test_a_bad_variable_is_an_error_that_names_its_setting),
        TEST(test_numbers_out_of_range_are_refused_with_the_range),
        TEST(test_white_space_around_values_is_dropped),
        TEST(test_sizes_may_pass_two_gigabytes),
        TEST(test_sizes_may_have_a_unit),
        TEST(test_umask_is_octal_with_a_leading_zero_only),
        TEST(test_bools_are_words),
        TEST(test_log_levels_are_names_of_any_case),
        TEST(test_an_unknown_log_level_is_info),
        TEST(test_choices_are_named_when_none_fits),
        TEST(test_choices_are_spelt_as_in_the_table),
        TEST(test_numbers_may_be_hexadecimal_or_octal),
        TEST(test_workers_may_follow_the_processors),
        TEST(test_an_endpoint_is_printed_as_python_keeps_it),
        TEST(test_only_lists_take_several_values),
        TEST(test_none_is_the_default_or_an_empty_list_but_no_number),
        TEST(test_unknown_names_are_an_error),
        TEST(test_chdir_is_absolute_and_keeps_the_spelling_of_PWD),
        TEST(test_the_later_source_wins_whatever_the_order),
        TEST(test_a_wrong_value_is_an_error_even_when_overridden),
        TEST(test_given_but_empty_is_an_error),
        TEST(test_empty_is_not_given_where_gunicorn_takes_it_so),
        TEST(test_none_is_the_default_where_gunicorn_takes_it),
        TEST(test_a_certificate_may_hold_its_key_but_a_key_needs_a_certificate),
        TEST(test_other_kinds_of_workers_are_refused_with_advice),
        TEST(test_what_would_change_safety_or_meaning_is_refused),
        TEST(test_what_is_refused_may_be_given_as_its_default),
        TEST(test_a_time_and_a_path_that_are_none_are_refused),
        TEST(test_users_and_directories_must_exist),
        TEST(test_environment_settings_need_an_equals_sign),
        TEST(test_lists_of_front_ends_take_addresses_and_networks_only),
        TEST(test_pairs_are_lines_and_print_as_a_dict),
        TEST(test_settings_without_effect_are_warned_of_once_and_only_when_changed),
        TEST(test_the_table_is_sound),
        TEST(test_print_is_gunicorns),
        TEST(test_print_is_sorted_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

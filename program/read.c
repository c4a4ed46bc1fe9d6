/* read.c - what the user wants: the command line, the environment, the configuration file. */
#include "program/read.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program/program.h"
#include "python/configfile.h"
#include "python/interp.h"
#include "python/paste.h"
#include "python/product.h"
#include "server/base/buf.h"
#include "server/process/daemon.h"
#include "server/process/systemd.h"

/* --help and --version are answered here. */
static int parse_command_line(struct program *p)
{
    struct buf message = {0};
    int status = GO_ON;
    if (!cli_parse(&p->cli, p->launch->argc, p->launch->argv, &message)) {
        status = p->cli.status;
        fwrite(message.data, 1, message.len, status == 0 ? stdout : stderr);
        if (fflush(status == 0 ? stdout : stderr) != 0) {
            status = 1;
        }
    }
    buf_finish(&message);
    return status;
}

int read_command_line(struct program *p, struct buf *error)
{
    int status = parse_command_line(p);
    if (status != GO_ON) {
        return status;
    }
    if (settings_init(&p->settings, error) < 0 || cli_apply(&p->cli, &p->settings, error) < 0 ||
        systemd_sockets(&p->settings, error) < 0 || venv_find(&p->venv, p->launch->program, error) < 0) {
        return program_refuse(p, error);
    }
    if (!program_is_check(p)) {
        program_title(p, "master"); /* an early one: a script that looks for us now must not start a second server */
    }
    return GO_ON;
}

/* raw_env: each is NAME=VALUE. */
static int set_environment(const struct strings *pairs, struct buf *error)
{
    for (size_t i = 0; i < pairs->n; i++) {
        const char *equals = strchr(pairs->v[i], '=');
        assert(equals); /* settings_check has seen to it */
        char *name = strndup(pairs->v[i], (size_t)(equals - pairs->v[i]));
        int r = name ? interp_setenv(name, equals + 1) : -1;
        free(name);
        if (r < 0) {
            buf_printf(error, "The environment variable in raw_env can't be set: '%s'", pairs->v[i]);
            return -1;
        }
    }
    return 0;
}

int read_settings(struct program *p, struct buf *error)
{
    struct settings *s = &p->settings;
    /* As gunicorn: a configuration file may import what lies beside it. */
    if (interp_set_paths(NULL, NULL, error) < 0) {
        return program_refuse(p, error);
    }
    if (configfile_run(s, p->cli.config, error) < 0 || product_settle(s, error) < 0 || settings_check(s, error) < 0 ||
        paste_settings(s, error) < 0) {
        return program_refuse(p, error);
    }
    p->app_name = cli_application(&p->cli, s, error);
    if (!p->app_name || interp_set_paths(s->chdir, s->pythonpath, error) < 0 ||
        set_environment(&s->raw_env, error) < 0) {
        return program_refuse(p, error);
    }
    return GO_ON;
}

/* cli.h - argv, GUNICORN_CMD_ARGS and CWSGI_CMD_ARGS into settings; --help from the table.
 *
 * main calls, in this order:
 *   cli_parse          before anything else: --help, --version and wrong options end here, without an interpreter
 *   settings_init      defaults and environment
 *   cli_apply          all options; later sources win whatever the order, so this may stand before configfile_run
 *   interp_set_paths   with NULL, NULL: a configuration file may import its neighbours in the current directory
 *   configfile_run     with c.config
 *   settings_check
 *   cli_application    what to serve: after configfile_run, since the file may name it (wsgi_app)
 *   log_open, settings_warn
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/config/settings.h"

struct buf;

struct cli_option { /* one option as it was given */
    const struct setting *setting;
    enum settings_source source;
    char *value; /* owned */
};

struct cli {
    struct cli_option *options; /* owned */
    size_t n_options;
    char *application;  /* owned: the positional argument; NULL when there is none */
    const char *config; /* borrowed from options: the last -c of the latest source; NULL: the default files */
    int status;         /* exit status when cli_parse says to leave: 0, 1 or 2 */
};

/* Reads GUNICORN_CMD_ARGS and CWSGI_CMD_ARGS (split as a shell would) and argv. True: go on. False: write `message` to
 * stdout (status 0: --help, --version) or stderr (else) and leave with c->status. cli_finish is due in both cases. */
bool cli_parse(struct cli *c, int argc, char **argv, struct buf *message);
void cli_finish(struct cli *c);

/* The options into the settings; the application's name becomes default_proc_name. 0, or -1 with a sentence in
 * `error`. */
int cli_apply(const struct cli *c, struct settings *s, struct buf *error);

/* "hello:app": the setting paste, else the positional argument, else the setting wsgi_app, else NULL with a sentence in
 * `error`. Borrowed from `c` or `s`. */
const char *cli_application(const struct cli *c, const struct settings *s, struct buf *error);

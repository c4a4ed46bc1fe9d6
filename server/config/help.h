/* help.h - the text of --help, from the table of settings. */
#pragma once

#include "server/config/settings.h"

struct buf;

#define HELP_USAGE "usage: cwsgi [OPTIONS] [APP_MODULE]\n"

int help_print(struct buf *out); /* 0 or -ENOMEM */

/* --help and --version: rows of their own, since they set nothing. */
enum { HELP_ROW_HELP, HELP_ROW_VERSION, HELP_ROWS };
extern const struct setting help_rows[HELP_ROWS];

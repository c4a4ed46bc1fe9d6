/* settings.h - the table (settings.def) as a struct: defaults, parse, check, print.
 * Knows nothing of Python: a configuration file's values arrive as text (or lists of text) through settings_set.
 *
 * struct settings has a member for each row of the table, named as the setting: s->workers, s->certfile, s->bind.v[0].
 * Its C type follows from the row's type (see settings.def). Made in the master, read by all, changed by nobody after
 * settings_check. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/log.h"

struct buf;

struct strings {
    char **v; /* owned */
    size_t n;
};

/* Types of rows; the head of settings.def says what each accepts. */
enum setting_type {
    SETTING_STR,
    SETTING_LOGLEVEL,
    SETTING_ENDPOINT,
    SETTING_DIR,
    SETTING_USER,
    SETTING_GROUP,
    SETTING_DICT,
    SETTING_HOOK,
    SETTING_INT,
    SETTING_COUNT,
    SETTING_SECONDS,
    SETTING_OCTAL,
    SETTING_SIZE,
    SETTING_BOOL,
    SETTING_BOOL_AUTO,
    SETTING_BOOL_OFF,
    SETTING_STRINGS,
    SETTING_CSV,
    SETTING_ADDRESSES,
    SETTING_PAIRS,
};

enum setting_auto { /* values of SETTING_BOOL_AUTO */
                    SETTING_FALSE,
                    SETTING_TRUE,
                    SETTING_AUTO,
};

enum setting_support {
    SETTING_WORKS,    /* takes effect */
    SETTING_ACCEPTED, /* has no effect, and nobody misses it */
    SETTING_WARNED,   /* has no effect: settings_warn says so when it is not at its default */
    SETTING_REFUSED,  /* settings_check fails when it is not at its default (or one of its choices) */
};

/* Where a value comes from. A later source overrides an earlier one, in whatever order they are set. */
enum settings_source {
    SETTINGS_DEFAULT,
    SETTINGS_ENVIRONMENT, /* WEB_CONCURRENCY, PORT, ... */
    SETTINGS_FILE,
    SETTINGS_GUNICORN_ARGS, /* GUNICORN_CMD_ARGS */
    SETTINGS_CWSGI_ARGS,    /* CWSGI_CMD_ARGS */
    SETTINGS_COMMAND_LINE,
};

/* A row of the table, or the head of a section (then `section` is set and all else is empty). */
struct setting {
    const char *section;
    const char *name;
    enum setting_type type;
    const char *flags;         /* "-b,--bind ADDRESS"; NULL: configuration file only */
    const char *environment;   /* "$WEB_CONCURRENCY", "0.0.0.0:$PORT"; NULL: none */
    const char *default_value; /* as text; NULL: None, or an empty list */
    const char *allowed;       /* see settings.def; NULL: any */
    enum setting_support support;
    const char *why; /* what to know or use instead, when it is WARNED or REFUSED */
    const char *help;
    size_t offset; /* of the member in struct settings */
};

#define SETTINGS_MEMBER_STR char *
#define SETTINGS_MEMBER_LOGLEVEL char *
#define SETTINGS_MEMBER_ENDPOINT char *
#define SETTINGS_MEMBER_DIR char *
#define SETTINGS_MEMBER_USER char *
#define SETTINGS_MEMBER_GROUP char *
#define SETTINGS_MEMBER_DICT char *
#define SETTINGS_MEMBER_HOOK char *
#define SETTINGS_MEMBER_INT int
#define SETTINGS_MEMBER_COUNT int
#define SETTINGS_MEMBER_SECONDS int
#define SETTINGS_MEMBER_OCTAL int
#define SETTINGS_MEMBER_SIZE size_t
#define SETTINGS_MEMBER_BOOL bool
#define SETTINGS_MEMBER_BOOL_AUTO int
#define SETTINGS_MEMBER_BOOL_OFF bool
#define SETTINGS_MEMBER_STRINGS struct strings
#define SETTINGS_MEMBER_CSV struct strings
#define SETTINGS_MEMBER_ADDRESSES struct strings
#define SETTINGS_MEMBER_PAIRS struct strings

enum {
    SETTINGS_ROWS = 0
#define SECTION(title) +1
#define SETTING(...) +1
#include "server/config/settings.def"
#undef SECTION
#undef SETTING
};

struct settings {
#define SECTION(title)
#define SETTING(name, type, ...) SETTINGS_MEMBER_##type name; /* pointers: owned */
#include "server/config/settings.def"
#undef SECTION
#undef SETTING
    unsigned char source[SETTINGS_ROWS]; /* enum settings_source of each row */
    /* No rows, but what the configuration file may say as well (product.h). Owned; NULL until it has run. */
    char *server_field;    /* the header field Server */
    char *server_software; /* SERVER_SOFTWARE in environ */
};

/* Defaults, and what the environment says of them. 0, or -1 with a sentence in `error`; settings_finish is due in
 * both cases. */
int settings_init(struct settings *s, struct buf *error);
void settings_finish(struct settings *s);

/* Gives a setting the value `values` (n texts, copied): lists take any number, other types one; n == 0 is Python's
 * None: the default, or an empty list. The value is checked, also when a later source has spoken already and it is not
 * stored. 0, or -1 with "Invalid value for NAME: ..." in `error`. */
int settings_set(struct settings *s, const char *name, const char *const *values, size_t n, enum settings_source source,
                 struct buf *error);

/* What can be judged only when all sources are in: combinations, and settings that are refused. 0 or -1 with a
 * sentence. */
int settings_check(const struct settings *s, struct buf *error);

/* What `loglevel` means. */
enum log_level settings_log_level(const struct settings *s);

/* One line in the log for each setting that was given and has no effect. */
void settings_warn(const struct settings *s);

/* All settings, one a line, sorted, in gunicorn's format: what --print-config shows. 0 or -ENOMEM. */
int settings_print(const struct settings *s, struct buf *out);
int settings_print_json(const struct settings *s, struct buf *out); /* the same as one object; 0 or -ENOMEM */

/* The table, for --help and for whoever translates names: SETTINGS_ROWS rows, section heads among them. */
const struct setting *settings_table(void);
const struct setting *settings_find(const char *name); /* NULL when there is no such setting */

/* The greatest value of an INT, COUNT or SECONDS setting that has a range. */
int settings_max(const char *name);

const char *settings_source_name(enum settings_source source); /* "the command line", "GUNICORN_CMD_ARGS" */

/* markdown.c - docs/settings.md. */
#include <stdio.h>
#include <string.h>

#include "server/config/settings.h"
#include "tools/describe/describe.h"

#define WIDTH 120

static size_t column;

/* Words with line breaks where the width asks for them. */
static void print_wrapped(const char *text)
{
    while (*text) {
        size_t len = strcspn(text, " ");
        if (column > 0 && column + 1 + len > WIDTH) {
            printf("\n");
            column = 0;
        }
        column += (size_t)printf("%s%.*s", column > 0 ? " " : "", (int)len, text);
        text += len + strspn(text + len, " ");
    }
}

static void end_paragraph(void)
{
    printf("\n\n");
    column = 0;
}

/* Markdown's own characters in a sentence. */
static void print_sentence(const char *text)
{
    char escaped[1024], *to = escaped;
    for (; *text && to < escaped + sizeof(escaped) - 2; text++) {
        if (strchr("*_<>[]", *text)) {
            *to++ = '\\';
        }
        *to++ = *text;
    }
    *to = '\0';
    print_wrapped(escaped);
}

static void print_how(const struct setting *row)
{
    char flag[100];
    struct flags f = row_flags(row);
    for (size_t i = 0; i < f.n; i++) {
        snprintf(flag, sizeof(flag), "`%.*s%s%.*s%s`%s", (int)f.v[i].len, f.v[i].p,
                 !f.metavar   ? ""
                 : f.optional ? " ["
                              : " ",
                 (int)f.metavar_len, f.metavar ? f.metavar : "", f.optional ? "]" : "", i + 1 < f.n ? "," : "");
        print_wrapped(flag);
    }
    if (f.n == 0) {
        print_wrapped("configuration file only");
    }
    if (row->environment) {
        snprintf(flag, sizeof(flag), "· environment: `%s`", row->environment);
        print_wrapped(flag);
    }
}

static void print_default(const struct setting *row)
{
    if (row->type == SETTING_BOOL || row->type == SETTING_BOOL_AUTO || row->type == SETTING_BOOL_OFF) {
        print_wrapped(strcmp(row->default_value, "true") == 0 ? "· default: `True`" : "· default: `False`");
    } else if (row->type != SETTING_HOOK && row->default_value && *row->default_value) {
        char text[300], *p;
        snprintf(text, sizeof(text), "· default: `%s`", row->default_value);
        while ((p = strchr(text, '\n'))) {
            *p = ' ';
        }
        print_wrapped(text);
    }
}

static void print_setting(const struct setting *row)
{
    const char *allowed = row_allowed(row);
    printf("### %s\n\n", row->name);
    print_how(row);
    print_default(row);
    if (*allowed) {
        print_wrapped("·");
        print_sentence(allowed);
    }
    end_paragraph();
    print_sentence(row->help);
    if (row->support == SETTING_ACCEPTED) {
        print_wrapped("It has no effect.");
    } else if (row->support == SETTING_WARNED) {
        print_wrapped("It has no effect, which the log says when it is set:");
    } else if (row->support == SETTING_REFUSED) {
        print_wrapped(row_choices(row, NULL) ? "Other values are refused:"
                                             : "Other values than the default are refused:");
    }
    if (row->support != SETTING_ACCEPTED && row->why) {
        print_sentence(row->why);
        printf(".");
    }
    end_paragraph();
}

void print_markdown(void)
{
    printf("# Settings\n\n"
           "<!-- Made from server/config/settings.def by `make docs`; edit that file instead. -->\n\n"
           "What `cwsgi --help` lists, and the settings that only a configuration file can give. Every setting of\n"
           "gunicorn is here; those that have no effect, or are refused, say so.\n\n"
           "A setting is taken from the last of these that has it:\n\n"
           "1. its default, or the environment variable named with it;\n"
           "2. the configuration file: `-c FILE`, `-c python:MODULE`, or else `./gunicorn.conf.py` and then\n"
           "   `./cwsgi.conf.py`; a Python file, in which a setting is a variable: `workers = 3`;\n"
           "3. `GUNICORN_CMD_ARGS`, options as on the command line;\n"
           "4. `CWSGI_CMD_ARGS`, the same;\n"
           "5. the command line.\n\n"
           "Long options may be shortened as far as they stay unique; `--workers 3` and `--workers=3` are the same.\n"
           "`cwsgi --print-config` shows what comes out of it all.\n\n");
    for (const struct setting *row = settings_table(); row; row = row_next(row)) {
        if (row->section) {
            printf("## %s\n\n", row->section);
        } else {
            print_setting(row);
        }
    }
}

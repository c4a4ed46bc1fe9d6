/* manual.c - the man page, cwsgi(1). */
#include <stdio.h>
#include <string.h>

#include "server/config/settings.h"
#include "tools/describe/describe.h"

/* roff: hyphens of options stay what they are when copied, and no line begins with a control character. */
static void print_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '-') {
            printf("\\-");
        } else if (text[i] == '\\') {
            printf("\\e");
        } else {
            printf("%s%c", i == 0 && (text[i] == '.' || text[i] == '\'') ? "\\&" : "", text[i]);
        }
    }
}

static void print_all(const char *text)
{
    print_text(text, strlen(text));
}

static void print_flags(const struct setting *row)
{
    struct flags f = row_flags(row);
    for (size_t i = 0; i < f.n; i++) {
        printf("%s\\fB", i ? ", " : "");
        print_text(f.v[i].p, f.v[i].len);
        printf("\\fR");
    }
    if (f.metavar) {
        printf(f.optional ? " [\\fI" : " \\fI");
        print_text(f.metavar, f.metavar_len);
        printf(f.optional ? "\\fR]" : "\\fR");
    }
    printf("\n");
}

static void print_option(const struct setting *row)
{
    const char *allowed = row_allowed(row);
    bool is_switch = !row_flags(row).metavar;
    printf(".TP\n");
    print_flags(row);
    print_all(row->help);
    if (*allowed) {
        printf("\nIt is ");
        print_all(allowed);
        printf(".");
    }
    if (!is_switch && row->default_value && *row->default_value) {
        printf("\nDefault: ");
        print_all(row->default_value);
        printf(".");
    }
    if (row->environment) {
        printf("\nEnvironment: ");
        print_all(row->environment);
        printf(".");
    }
    printf("\n");
}

static void print_options(void)
{
    const char *section = NULL; /* its title waits for the first option: some sections have none */
    for (const struct setting *row = row_next(NULL); row; row = row_next(row)) {
        if (row->section) {
            section = row->section;
        } else if (row_works(row)) {
            if (section) {
                printf(".SS %s\n", section);
                section = NULL;
            }
            print_option(row);
        }
    }
}

static void print_variables(void)
{
    for (const struct setting *row = row_next(NULL); row; row = row_next(row)) {
        if (row->environment) {
            const char *name = strchr(row->environment, '$') + 1;
            printf(".TP\n.B %s\nThe default of the setting ", name);
            print_all(row->name);
            if (name - row->environment > 1) {
                printf(", as ");
                print_all(row->environment);
            }
            printf(".\n");
        }
    }
}

void print_manual(void)
{
    printf(".TH CWSGI 1 \"\" \"cwsgi %s\"\n", CWSGI_VERSION);
    printf(".SH NAME\ncwsgi \\- serves a Python WSGI application\n"
           ".SH SYNOPSIS\n.B cwsgi\n[\\fIOPTION\\fR]... [\\fIMODULE\\fR[:\\fINAME\\fR]]\n"
           ".SH DESCRIPTION\n"
           "Imports \\fIMODULE\\fR and serves its \\fINAME\\fR, which is \\fBapplication\\fR where it is not given;\n"
           "\\fINAME\\fR may also be a call with literals, such as \\fBfactory(\"production\")\\fR.\n"
           "Options, configuration files, signals and exit statuses are those of gunicorn.\n"
           ".PP\nLong options may be shortened as far as they stay unique, and take their value behind a space or =.\n"
           "A setting is taken from the last of these that has it: the default, the environment, the configuration\n"
           "file, GUNICORN_CMD_ARGS, CWSGI_CMD_ARGS, the command line.\n"
           ".SH OPTIONS\n");
    print_options();
    printf(
        ".SH SIGNALS\nTo the master, the process that was started:\n"
        ".TP\n.B TERM\nFinish the requests that run, then end.\n"
        ".TP\n.BR INT \", \" QUIT\nEnd at once.\n"
        ".TP\n.BR HUP \", \" USR2\nLoad settings, application and certificates anew; if that fails, go on as before.\n"
        ".TP\n.BR TTIN \", \" TTOU\nOne worker more, one less.\n"
        ".TP\n.B USR1\nOpen the log files again.\n"
        ".SH ENVIRONMENT\n"
        ".TP\n.BR GUNICORN_CMD_ARGS \", \" CWSGI_CMD_ARGS\nMore options, as a shell would read them.\n");
    print_variables();
    printf(".SH FILES\n.TP\n.BR ./gunicorn.conf.py \", \" ./cwsgi.conf.py\n"
           "Python files whose names are settings; the second one overrides the first.\n"
           ".SH EXIT STATUS\n"
           ".TP\n.B 0\nIt was told to end, or what was asked for was shown or is in order.\n"
           ".TP\n.B 1\nA setting, a file or an address is not as it should be.\n"
           ".TP\n.B 2\nThe command line cannot be understood.\n"
           ".TP\n.B 3\nThe application raises an exception while it is loaded.\n"
           ".TP\n.B 4\nThere is no such application.\n");
}

/* texts.c - the table of cwsgictl's commands and options, and what is made from it. */
#include "server/ctl/texts.h"

#include <stdio.h>
#include <string.h>

const struct command_row texts_commands[] = {
#define COMMAND(name, arguments, run, verbatim, most, help) {name, arguments, help},
#include "server/ctl/commands.def"
#undef COMMAND
    {0},
};

const struct option_row texts_options[] = {
    {"-i,--instance WHICH",
     "Of several servers, which: its folder, pid file, pid, address, port, name, application or control socket"},
    {"--json", "For programs: of status, config and list"},
    {"-q,--quiet", "Say nothing when all is well"},
    {"-h,--help", "This text"},
    {"--version", "The version"},
    {0},
};

static const char ABOUT[] =
    "Without -i, the only server of this user is meant, or the one of the current folder. start, restart and cron "
    "take\n"
    "cwsgi's own arguments: all that follows them. Exit status: 0 done, or running; 1 failed; 2 wrong usage; 3 not\n"
    "running.\n";

void texts_help(void)
{
    printf("usage: cwsgictl [OPTION]... COMMAND [ARGUMENT]...\n\nCommands:\n");
    for (const struct command_row *c = texts_commands; c->name; c++) {
        printf("  %s%s%s\n      %s.\n", c->name, *c->arguments ? " " : "", c->arguments, c->help);
    }
    printf("\nOptions:\n");
    for (const struct option_row *o = texts_options; o->flags; o++) {
        printf("  %s\n      %s.\n", o->flags, o->help);
    }
    printf("\n%s", ABOUT);
}

/* roff takes a minus for a hyphen, and a line that begins with a dot for a request. */
static void roff(const char *text)
{
    for (const char *c = text; *c; c++) {
        printf(*c == '-' ? "\\-" : *c == '\\' ? "\\e" : "%c", *c);
    }
}

static void print_man(void)
{
    printf(".TH CWSGICTL 1 \"\" \"cwsgi %s\"\n.SH NAME\ncwsgictl \\- looks after servers of cwsgi\n", CWSGI_VERSION);
    printf(".SH SYNOPSIS\n.B cwsgictl\n[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...\n.SH COMMANDS\n");
    for (const struct command_row *c = texts_commands; c->name; c++) {
        printf(".TP\n.B ");
        roff(c->name);
        printf(" ");
        roff(c->arguments);
        printf("\n");
        roff(c->help);
        printf(".\n");
    }
    printf(".SH OPTIONS\n");
    for (const struct option_row *o = texts_options; o->flags; o++) {
        printf(".TP\n.B ");
        roff(o->flags);
        printf("\n");
        roff(o->help);
        printf(".\n");
    }
    printf(".SH DESCRIPTION\n");
    roff(ABOUT);
    printf(
        "It talks to the control socket of the server, which lies in ~/.cwsgi unless the setting control_socket says "
        "otherwise.\n.SH SEE ALSO\n.BR cwsgi (1)\n");
}

static void print_words(const char *separator)
{
    for (const struct command_row *c = texts_commands; c->name; c++) {
        printf("%s%s", c == texts_commands ? "" : separator, c->name);
    }
}

static void print_flags(void)
{
    for (const struct option_row *o = texts_options; o->flags; o++) {
        size_t len = strcspn(o->flags, " "); /* what stands behind it is the name of a value */
        putchar(' ');
        for (size_t i = 0; i < len; i++) {
            putchar(o->flags[i] == ',' ? ' ' : o->flags[i]);
        }
    }
}

static void print_bash(void)
{
    printf("# cwsgictl: made from its own table\n"
           "_cwsgictl() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} i command=\n"
           "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "        case ${COMP_WORDS[i]} in\n"
           "        -i|--instance) ((i++)) ;;\n"
           "        -*) ;;\n"
           "        *) command=${COMP_WORDS[i]}; break ;;\n"
           "        esac\n"
           "    done\n"
           "    case $command in\n"
           "    '') mapfile -t COMPREPLY < <(compgen -W '");
    print_words(" ");
    print_flags();
    printf("' -- \"$word\") ;;\n"
           "    stop) mapfile -t COMPREPLY < <(compgen -W '--now' -- \"$word\") ;;\n"
           "    status|config|list) mapfile -t COMPREPLY < <(compgen -W '--json' -- \"$word\") ;;\n"
           "    cron) mapfile -t COMPREPLY < <(compgen -f -W '--install' -- \"$word\") ;;\n"
           "    start|restart) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
           "    esac\n"
           "}\n"
           "complete -F _cwsgictl cwsgictl\n");
}

static void print_zsh(void)
{
    printf("#compdef cwsgictl\n"
           "_arguments -C '(-i --instance)'{-i,--instance}'[which server]:server:_files' '--json[for programs]' \\\n"
           "    '(-q --quiet)'{-q,--quiet}'[say nothing when all is well]' '(-h --help)'{-h,--help}'[help]' \\\n"
           "    '--version[the version]' '1:command:((");
    for (const struct command_row *c = texts_commands; c->name; c++) {
        printf("%s\\:\"%.*s\" ", c->name, (int)strcspn(c->help, ":;,("), c->help);
    }
    printf("))' '*:argument:_files'\n");
}

static void print_fish(void)
{
    printf("complete -c cwsgictl -s i -l instance -r -d 'Which server'\n"
           "complete -c cwsgictl -l json -d 'For programs'\n"
           "complete -c cwsgictl -s q -l quiet -d 'Say nothing when all is well'\n"
           "complete -c cwsgictl -s h -l help -d 'Help'\n");
    for (const struct command_row *c = texts_commands; c->name; c++) {
        printf("complete -c cwsgictl -n __fish_use_subcommand -a %s -d '%.*s'\n", c->name,
               (int)strcspn(c->help, ":;,("), c->help);
    }
}

bool texts_describe(const char *kind)
{
    static const struct {
        const char *kind;
        void (*print)(void);
    } KINDS[] = {{"man", print_man}, {"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++) {
        if (strcmp(KINDS[i].kind, kind) == 0) {
            KINDS[i].print();
            return true;
        }
    }
    return false;
}

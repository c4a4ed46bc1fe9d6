/* completion.c - what shells offer while a command line is typed. */
#include <stdio.h>
#include <string.h>

#include "server/config/settings.h"
#include "tools/describe/describe.h"

static void print_word(const char *word, size_t len)
{
    printf(" %.*s", (int)len, word);
}

/* bash */

/* "-c|--config" as a pattern of `case`. */
static void print_pattern(const struct flags *f)
{
    for (size_t i = 0; i < f->n; i++) {
        printf("%s%.*s", i ? "|" : "", (int)f->v[i].len, f->v[i].p);
    }
}

static void print_bash_case(const struct setting *row, const struct flags *f)
{
    printf("        ");
    print_pattern(f);
    switch (row_value_kind(row)) {
    case VALUE_CHOICE:
        printf(") mapfile -t COMPREPLY < <(compgen -W '");
        row_choices(row, print_word);
        printf("' -- \"$cur\") ;;\n");
        break;
    case VALUE_FILE:
        printf(") compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n");
        break;
    case VALUE_DIR:
        printf(") compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n");
        break;
    case VALUE_USER:
        printf(") mapfile -t COMPREPLY < <(compgen -u -- \"$cur\") ;;\n");
        break;
    case VALUE_GROUP:
        printf(") mapfile -t COMPREPLY < <(compgen -g -- \"$cur\") ;;\n");
        break;
    case VALUE_TEXT:
        printf(") ;;\n");
        break;
    }
}

void print_bash(void)
{
    printf("# bash completion for cwsgi; made from its table of settings\n"
           "_cwsgi() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
           "    COMPREPLY=()\n"
           "    if [[ $cur == = ]]; then # --option=\n"
           "        cur=\n"
           "    elif [[ $prev == = ]]; then\n"
           "        prev=${COMP_WORDS[COMP_CWORD-2]}\n"
           "    fi\n"
           "    case $prev in\n");
    for (const struct setting *row = row_next(NULL); row; row = row_next(row)) {
        struct flags f = row_flags(row);
        if (f.metavar && !f.optional) {
            print_bash_case(row, &f);
        }
    }
    printf("        *)\n"
           "            if [[ $cur == -* ]]; then\n"
           "                mapfile -t COMPREPLY < <(compgen -W '");
    for (const struct setting *row = row_next(NULL); row; row = row_next(row)) {
        struct flags f = row_flags(row);
        for (size_t i = 0; row_works(row) && i < f.n; i++) {
            print_word(f.v[i].p, f.v[i].len);
        }
    }
    printf("' -- \"$cur\")\n"
           "            else # modules in this folder\n"
           "                mapfile -t COMPREPLY < <(compgen -f -X '!*.py' -- \"$cur\")\n"
           "                COMPREPLY=(\"${COMPREPLY[@]%%.py}\")\n"
           "            fi ;;\n"
           "    esac\n"
           "}\n"
           "complete -F _cwsgi cwsgi\n");
}

/* zsh */

/* Inside '...[ ]...': a quote leaves and comes back; brackets and colons would end what they stand in. */
static void print_zsh_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\'') {
            printf("'\\''");
        } else {
            printf("%s%c", strchr("[]:\\", text[i]) ? "\\" : "", text[i]);
        }
    }
}

static void print_zsh_value(const struct setting *row, const struct flags *f)
{
    printf("%s:", f->optional ? ":" : "");
    print_zsh_text(f->metavar, f->metavar_len);
    switch (row_value_kind(row)) {
    case VALUE_CHOICE:
        printf(":(");
        row_choices(row, print_word);
        printf(")");
        break;
    case VALUE_FILE:
        printf(":_files");
        break;
    case VALUE_DIR:
        printf(":_files -/");
        break;
    case VALUE_USER:
        printf(":_users");
        break;
    case VALUE_GROUP:
        printf(":_groups");
        break;
    case VALUE_TEXT:
        printf(": ");
        break;
    }
}

/* One line a flag; a flag excludes itself and its other name, unless it may be repeated. */
static void print_zsh_option(const struct setting *row)
{
    struct flags f = row_flags(row);
    for (size_t i = 0; i < f.n; i++) {
        printf("    '");
        if (row_repeats(row)) {
            printf("*");
        } else if (f.n > 1) {
            printf("(");
            for (size_t j = 0; j < f.n; j++) {
                printf("%s%.*s", j ? " " : "", (int)f.v[j].len, f.v[j].p);
            }
            printf(")");
        }
        bool is_long = f.v[i].p[1] == '-';
        printf("%.*s%s[", (int)f.v[i].len, f.v[i].p, !f.metavar ? "" : is_long ? "=" : "+");
        print_zsh_text(row->help, strlen(row->help));
        printf("]");
        if (f.metavar) {
            print_zsh_value(row, &f);
        }
        printf("' \\\n");
    }
}

void print_zsh(void)
{
    printf("#compdef cwsgi\n# made from cwsgi's table of settings\n\n_arguments -s -S \\\n");
    for (const struct setting *row = row_next(NULL); row; row = row_next(row)) {
        if (row_works(row)) {
            print_zsh_option(row);
        }
    }
    printf("    '1:application (MODULE\\:NAME):_files -g \"*.py(:r)\"'\n");
}

/* fish */

static void print_fish_option(const struct setting *row)
{
    struct flags f = row_flags(row);
    printf("complete -c cwsgi");
    for (size_t i = 0; i < f.n; i++) {
        bool is_long = f.v[i].p[1] == '-';
        printf(" -%c %.*s", is_long ? 'l' : 's', (int)f.v[i].len - 1 - is_long, f.v[i].p + 1 + is_long);
    }
    enum value_kind kind = f.metavar ? row_value_kind(row) : VALUE_TEXT;
    if (kind == VALUE_FILE || kind == VALUE_DIR) {
        printf(kind == VALUE_FILE ? " -r -F" : " -x -a '(__fish_complete_directories)'");
    } else if (kind == VALUE_CHOICE) {
        printf("%s -f -a '", f.optional ? "" : " -x");
        row_choices(row, print_word);
        printf("'");
    } else if (kind == VALUE_USER || kind == VALUE_GROUP) {
        printf(" -x -a '(__fish_complete_%s)'", kind == VALUE_USER ? "users" : "groups");
    } else if (f.metavar) {
        printf(" -x");
    }
    printf(" -d '");
    for (const char *p = row->help; *p; p++) {
        printf("%s%c", *p == '\'' || *p == '\\' ? "\\" : "", *p);
    }
    printf("'\n");
}

void print_fish(void)
{
    printf("# fish completion for cwsgi; made from its table of settings\n"
           "complete -c cwsgi -f -a '(set -l m *.py; string replace -r \"\\.py\\$\" \"\" -- $m)'\n");
    for (const struct setting *row = row_next(NULL); row; row = row_next(row)) {
        if (row_works(row)) {
            print_fish_option(row);
        }
    }
}

/* describe.c - prints the man page, the shell completions or docs/settings.md, made from the table of settings. */
#include "tools/describe/describe.h"

#include <stdio.h>
#include <string.h>

#include "server/config/help.h"
#include "server/config/settings.h"

const struct setting *row_next(const struct setting *row)
{
    const struct setting *table = settings_table();
    if (!row) {
        return help_rows;
    }
    if (row == &help_rows[HELP_ROWS - 1]) {
        return table;
    }
    row++;
    return row == table + SETTINGS_ROWS ? NULL : row;
}

struct flags row_flags(const struct setting *row)
{
    struct flags f = {0};
    for (const char *p = row->flags; p && f.n < sizeof(f.v) / sizeof(f.v[0]); p++) {
        f.v[f.n].p = p;
        f.v[f.n].len = strcspn(p, ", ");
        p += f.v[f.n++].len;
        if (*p == ' ' && strncmp(p, " [=", 3) != 0) { /* what may stand behind "=" its help text says */
            f.optional = p[1] == '[';
            f.metavar = p + 1 + f.optional;
            f.metavar_len = strcspn(f.metavar, "]");
        }
        if (*p != ',') {
            break;
        }
    }
    return f;
}

bool row_works(const struct setting *row)
{
    return row->flags && (row->support == SETTING_WORKS || (row->support == SETTING_REFUSED && row_choices(row, NULL)));
}

bool row_repeats(const struct setting *row)
{
    return row->type == SETTING_STRINGS || row->type == SETTING_ADDRESSES;
}

size_t row_choices(const struct setting *row, void (*each)(const char *word, size_t len))
{
    static const char levels[] = "debug|info|warning|error|critical",
                      plain[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *p = row->type == SETTING_LOGLEVEL ? levels : row->allowed;
    size_t n = 0;
    if (!p || !strchr(p, '|')) {
        return 0;
    }
    for (; *p; p += *p == '|') {
        size_t len = strcspn(p, "|");
        if (strspn(p, plain) == len) { /* no synonym, and no dotted name */
            n++;
            if (each) {
                each(p, len);
            }
        }
        p += len;
    }
    return n;
}

static char *sentence; /* where row_allowed is at */
static const char *separator;

static void add_choice(const char *word, size_t len)
{
    sentence += sprintf(sentence, "%s%.*s", separator, (int)len, word);
    separator = ", ";
}

const char *row_allowed(const struct setting *row)
{
    static char text[400];
    const char *dots = row->allowed && row->type != SETTING_HOOK ? strstr(row->allowed, "..") : NULL;
    const char *kind = row->type == SETTING_OCTAL  ? "a number, octal with a leading 0,"
                       : row->type == SETTING_SIZE ? "a number of bytes, also as 64K, 300M or 1G,"
                                                   : "a whole number";
    text[0] = '\0';
    if (row_choices(row, NULL)) {
        sentence = text;
        separator = "one of ";
        row_choices(row, add_choice);
    } else if (dots && dots[2] && row->type == SETTING_OCTAL) {
        sprintf(text, "%s from 0 to 0%o", kind, 0777);
    } else if (dots && dots[2]) {
        sprintf(text, "%s from %.*s to %s", kind, (int)(dots - row->allowed), row->allowed, dots + 2);
    } else if (dots) {
        sprintf(text, "%s, %.*s or more", kind, (int)(dots - row->allowed), row->allowed);
    }
    return text;
}

enum value_kind row_value_kind(const struct setting *row)
{
    struct flags f = row_flags(row);
    if (row_choices(row, NULL)) {
        return VALUE_CHOICE;
    }
    if (row->type == SETTING_USER || row->type == SETTING_GROUP) {
        return row->type == SETTING_USER ? VALUE_USER : VALUE_GROUP;
    }
    if (f.metavar_len == 3 && strncmp(f.metavar, "DIR", 3) == 0) {
        return VALUE_DIR;
    }
    return f.metavar_len == 4 && strncmp(f.metavar, "FILE", 4) == 0 ? VALUE_FILE : VALUE_TEXT;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } kinds[] = {
        {"man", print_manual}, {"markdown", print_markdown}, {"bash", print_bash},
        {"zsh", print_zsh},    {"fish", print_fish},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (argc == 2 && strcmp(argv[1], kinds[i].name) == 0) {
            kinds[i].print();
            return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
        }
    }
    fprintf(stderr, "usage: describe man|markdown|bash|zsh|fish\n");
    return 2;
}

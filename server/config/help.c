/* help.c - the text of --help, from the table of settings. */
#include "server/config/help.h"

#include <string.h>

#include "server/base/buf.h"

#define WIDTH 80
#define COLUMN 30 /* where the explanations stand */

const struct setting help_rows[HELP_ROWS] = {
    [HELP_ROW_HELP] = {.name = "help", .type = SETTING_BOOL, .flags = "-h,--help", .help = "Show this text and leave."},
    [HELP_ROW_VERSION] = {.name = "version",
                          .type = SETTING_BOOL,
                          .flags = "-v,--version",
                          .help = "Show the version and leave."},
};

/* "[1] ($WEB_CONCURRENCY)": what there is to know besides the help text. */
static int print_notes(const struct setting *row, struct buf *out)
{
    bool has_default = row->type != SETTING_BOOL && row->type != SETTING_BOOL_AUTO && row->type != SETTING_BOOL_OFF &&
                       row->default_value && *row->default_value;
    int r = 0;
    if (has_default) {
        r = buf_printf(out, " [%s]", row->default_value);
    }
    if (r == 0 && row->environment) {
        r = buf_printf(out, " (%s)", row->environment);
    }
    if (r == 0 && row->support == SETTING_REFUSED) {
        r = buf_puts(out, has_default ? " (nothing else is supported)" : " (not supported)");
    } else if (r == 0 && row->support != SETTING_WORKS) {
        r = buf_puts(out, " (no effect)");
    }
    return r;
}

/* Writes the words into the right-hand column; `at` is the column where the line stands now. */
static int wrap(const char *words, size_t at, struct buf *out)
{
    int r = 0;
    if (at + 2 > COLUMN) {
        r = buf_puts(out, "\n");
        at = 0;
    }
    for (const char *word = words; r == 0 && *word;) {
        size_t len = strcspn(word, " ");
        if (at > COLUMN && at + 1 + len >= WIDTH) {
            r = buf_puts(out, "\n");
            at = 0;
        }
        size_t pad = at < COLUMN ? COLUMN - at : 1;
        r = r == 0 ? buf_printf(out, "%*s%.*s", (int)pad, "", (int)len, word) : r;
        at += pad + len;
        word += len + strspn(word + len, " ");
    }
    return r == 0 ? buf_puts(out, "\n") : r;
}

static int print_option(const struct setting *row, struct buf *out)
{
    size_t start = out->len;
    int r = buf_puts(out, "  ");
    for (const char *p = row->flags; r == 0 && *p; p++) {
        r = *p == ',' ? buf_puts(out, ", ") : buf_append(out, p, 1);
    }
    struct buf text = {0};
    r = r == 0 ? buf_puts(&text, row->help) : r;
    r = r == 0 ? print_notes(row, &text) : r;
    r = r == 0 && !buf_cstr(&text) ? -1 : r;
    r = r == 0 ? wrap(text.data, out->len - start, out) : r;
    buf_finish(&text);
    return r;
}

int help_print(struct buf *out)
{
    int r =
        buf_puts(out, HELP_USAGE "\nServes a Python WSGI application: MODULE, MODULE:NAME or MODULE:factory(...).\n\n");
    for (size_t i = 0; r == 0 && i < HELP_ROWS; i++) {
        r = print_option(&help_rows[i], out);
    }
    const struct setting *rows = settings_table();
    const char *section = NULL; /* its title waits for the first option: some sections have none */
    for (size_t i = 0; r == 0 && i < SETTINGS_ROWS; i++) {
        if (rows[i].section) {
            section = rows[i].section;
        } else if (rows[i].flags) {
            r = section ? buf_printf(out, "\n%s:\n", section) : 0;
            section = NULL;
            r = r == 0 ? print_option(&rows[i], out) : r;
        }
    }
    return r;
}

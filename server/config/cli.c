/* cli.c - argv, GUNICORN_CMD_ARGS and CWSGI_CMD_ARGS into settings, as Python's argparse would read them. */
#include "server/config/cli.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/config/help.h"
#include "server/config/words.h"

#define EXIT_USAGE 2
#define NAME_MAX_LEN 63 /* of an option; longer words are like none */

struct word { /* one argument, understood */
    enum { WORD_PLAIN, WORD_OPTION, WORD_AMBIGUOUS, WORD_UNKNOWN } kind;
    const struct setting *row; /* of an option */
    const char *value;         /* borrowed: what follows in the same argument; NULL: nothing */
    bool is_short;             /* "-w3": `value` may also be more flags */
};

struct parser {
    struct cli *c;
    enum settings_source source;
    char *const *words; /* borrowed */
    size_t n;
    size_t next;
    struct buf *message;
};

/* All rows that have flags, one after another: NULL begins, NULL ends. */
static const struct setting *next_row(const struct setting *row)
{
    const struct setting *first = settings_table(), *end = first + SETTINGS_ROWS;
    if (!row) {
        return &help_rows[0];
    }
    if (row >= help_rows && row < help_rows + HELP_ROWS) {
        row++;
        if (row < help_rows + HELP_ROWS) {
            return row;
        }
        row = first;
    } else {
        row++;
    }
    while (row < end && !row->flags) {
        row++;
    }
    return row < end ? row : NULL;
}

/* The flags of a row, one after another: NULL begins, NULL ends. */
static const char *next_flag(const struct setting *row, const char *flag, size_t *len)
{
    flag = flag ? flag + strcspn(flag, ", ") : row->flags;
    if (flag != row->flags) {
        if (*flag != ',') {
            return NULL;
        }
        flag++;
    }
    *len = strcspn(flag, ", ");
    return flag;
}

/* "ADDRESS", "[auto]", or NULL when the option takes no value. */
static const char *metavar(const struct setting *row)
{
    const char *space = strchr(row->flags, ' ');
    return space ? space + 1 : NULL;
}

static bool adds_up(const struct setting *row)
{
    return row->type == SETTING_STRINGS || row->type == SETTING_ADDRESSES;
}

/* The row of a long option: an exact name, or the beginning of one row's names only. */
static void find_long(const char *name, size_t len, struct word *w)
{
    w->kind = WORD_UNKNOWN;
    for (const struct setting *row = next_row(NULL); row; row = next_row(row)) {
        size_t flag_len;
        for (const char *flag = next_flag(row, NULL, &flag_len); flag; flag = next_flag(row, flag, &flag_len)) {
            if (flag_len < len || strncmp(flag, name, len) != 0) {
                continue;
            }
            if (flag_len == len) {
                w->kind = WORD_OPTION;
                w->row = row;
                return;
            }
            bool first = w->kind == WORD_UNKNOWN;
            w->kind = first || (w->kind == WORD_OPTION && w->row == row) ? WORD_OPTION : WORD_AMBIGUOUS;
            w->row = row;
        }
    }
}

static void find_short(char letter, struct word *w)
{
    w->kind = WORD_UNKNOWN;
    for (const struct setting *row = next_row(NULL); row; row = next_row(row)) {
        if (row->flags[1] == letter && row->flags[1] != '-') {
            w->kind = WORD_OPTION;
            w->row = row;
        }
    }
}

/* "-1" and "-.5" are values: no option looks like a number. */
static bool is_negative_number(const char *text)
{
    size_t digits = strspn(text + 1, "0123456789");
    const char *rest = text + 1 + digits;
    if (*rest == '.') {
        size_t more = strspn(rest + 1, "0123456789");
        return more > 0 && rest[1 + more] == '\0';
    }
    return digits > 0 && *rest == '\0';
}

static struct word understand(const char *text)
{
    struct word w = {.kind = WORD_PLAIN};
    if (text[0] != '-' || text[1] == '\0') {
        return w;
    }
    if (text[1] == '-') {
        size_t len = strcspn(text, "=");
        find_long(text, len, &w);
        w.value = text[len] == '=' ? text + len + 1 : NULL;
    } else {
        find_short(text[1], &w);
        w.is_short = true;
        w.value = text[2] ? text + 2 : NULL;
    }
    if (w.kind == WORD_UNKNOWN && (is_negative_number(text) || strchr(text, ' '))) {
        w.kind = WORD_PLAIN;
    }
    return w;
}

/* Begins the message; the caller adds what is wrong and a line break. */
static void complain(struct parser *p)
{
    p->c->status = EXIT_USAGE;
    buf_puts(p->message, HELP_USAGE "cwsgi: error: ");
    if (p->source != SETTINGS_COMMAND_LINE) {
        buf_printf(p->message, "in %s: ", settings_source_name(p->source));
    }
}

static bool complain_of(struct parser *p, const struct setting *row, const char *what, const char *text)
{
    complain(p);
    buf_puts(p->message, "argument ");
    size_t len;
    for (const char *flag = next_flag(row, NULL, &len); flag; flag = next_flag(row, flag, &len)) {
        buf_printf(p->message, "%s%.*s", flag == row->flags ? "" : "/", (int)len, flag);
    }
    buf_printf(p->message, ": %s%s\n", what, text);
    return false;
}

static bool complain_ambiguous(struct parser *p, const char *text)
{
    size_t name_len = strcspn(text, "="), len;
    const char *separator = " could match ";
    complain(p);
    buf_printf(p->message, "ambiguous option: %s", text);
    for (const struct setting *row = next_row(NULL); row; row = next_row(row)) {
        for (const char *flag = next_flag(row, NULL, &len); flag; flag = next_flag(row, flag, &len)) {
            if (len > name_len && strncmp(flag, text, name_len) == 0) {
                buf_printf(p->message, "%s%.*s", separator, (int)len, flag);
                separator = ", ";
            }
        }
    }
    buf_puts(p->message, "\n");
    return false;
}

/* How many letters were missed, added, changed or swapped with their neighbour. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    assert(a_len <= NAME_MAX_LEN && b_len <= NAME_MAX_LEN);
    for (size_t j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3];
        const size_t *last = rows[(i + 2) % 3], *last_but_one = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t least = last[j - 1] + (a[i - 1] != b[j - 1]);
            least = last[j] + 1 < least ? last[j] + 1 : least;
            least = now[j - 1] + 1 < least ? now[j - 1] + 1 : least;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && last_but_one[j - 2] + 1 < least) {
                least = last_but_one[j - 2] + 1;
            }
            now[j] = least;
        }
    }
    return rows[a_len % 3][b_len];
}

static bool complain_unknown(struct parser *p, const char *text)
{
    size_t name_len = strcspn(text, "="), best = name_len / 3 + 1, hint_len = 0, len;
    const char *hint = NULL;
    for (const struct setting *row = next_row(NULL); row && name_len <= NAME_MAX_LEN; row = next_row(row)) {
        for (const char *flag = next_flag(row, NULL, &len); flag; flag = next_flag(row, flag, &len)) {
            size_t d = len > 2 && len <= NAME_MAX_LEN ? distance(text, name_len, flag, len) : best;
            if (d < best) {
                best = d;
                hint = flag;
                hint_len = len;
            }
        }
    }
    complain(p);
    buf_printf(p->message, "unrecognized arguments: %s", text);
    if (hint) {
        buf_printf(p->message, "; did you mean %.*s?", (int)hint_len, hint);
    }
    buf_puts(p->message, "\n");
    return false;
}

static bool complain_memory(struct parser *p)
{
    p->c->status = EXIT_FAILURE;
    buf_puts(p->message, "Out of memory\n");
    return false;
}

static bool add(struct parser *p, const struct setting *row, const char *value, size_t len)
{
    struct cli *c = p->c;
    struct cli_option *options = reallocarray(c->options, c->n_options + 1, sizeof(*options));
    if (!options) {
        return complain_memory(p);
    }
    c->options = options;
    char *copy = strndup(value, len);
    if (!copy) {
        return complain_memory(p);
    }
    options[c->n_options++] = (struct cli_option){row, p->source, copy};
    return true;
}

/* --help and --version act at once. */
static bool leave(struct parser *p, const struct setting *row)
{
    p->c->status = EXIT_SUCCESS;
    int r = row == &help_rows[HELP_ROW_HELP] ? help_print(p->message)
                                             : buf_puts(p->message, "cwsgi (version " CWSGI_VERSION ")\n");
    return r == 0 ? false : complain_memory(p);
}

static bool take_switch(struct parser *p, const struct setting *row)
{
    if (row >= help_rows && row < help_rows + HELP_ROWS) {
        return leave(p, row);
    }
    const char *value = row->type == SETTING_BOOL_OFF ? "false" : "true";
    return add(p, row, value, strlen(value));
}

/* The value may stand in the same argument, in the next, or nowhere. */
static bool take_value(struct parser *p, const struct setting *row, const char *value)
{
    const char *standing = metavar(row);
    if (strncmp(standing, "[=", 2) == 0) {
        standing = value ? value : "true";
        return add(p, row, standing, strlen(standing));
    }
    if (!value && p->next < p->n && strcmp(p->words[p->next], "--") != 0 &&
        understand(p->words[p->next]).kind == WORD_PLAIN) {
        value = p->words[p->next++];
    }
    if (value) {
        return add(p, row, value, strlen(value));
    }
    if (*standing == '[') {
        return add(p, row, standing + 1, strcspn(standing + 1, "]"));
    }
    return complain_of(p, row, "expected one argument", "");
}

static bool take_option(struct parser *p, struct word w)
{
    while (!metavar(w.row)) {
        const char *more = w.value; /* "-DR": what follows are switches, too */
        if (more && !w.is_short) {
            return complain_of(p, w.row, "ignored explicit argument ", more);
        }
        if (!take_switch(p, w.row)) {
            return false;
        }
        if (!more) {
            return true;
        }
        const struct setting *row = w.row;
        find_short(*more, &w);
        if (w.kind != WORD_OPTION) {
            return complain_of(p, row, "ignored explicit argument ", more);
        }
        w.value = more[1] ? more + 1 : NULL;
    }
    if (w.is_short && w.value && *w.value == '=') {
        w.value++;
    }
    return take_value(p, w.row, w.value);
}

/* The first positional argument is the application; in the variables there is none, as in gunicorn. */
static bool take_plain(struct parser *p, const char *text, struct buf *extra)
{
    if (p->source != SETTINGS_COMMAND_LINE) {
        return true;
    }
    if (!p->c->application) {
        p->c->application = strdup(text);
        return p->c->application ? true : complain_memory(p);
    }
    return buf_printf(extra, " %s", text) == 0 ? true : complain_memory(p);
}

static bool parse_words(struct parser *p, struct buf *extra)
{
    bool only_plain = false;
    while (p->next < p->n) {
        const char *text = p->words[p->next++];
        if (!only_plain && strcmp(text, "--") == 0) {
            only_plain = true;
            continue;
        }
        struct word w = only_plain ? (struct word){.kind = WORD_PLAIN} : understand(text);
        bool go_on = false;
        switch (w.kind) {
        case WORD_PLAIN:
            go_on = take_plain(p, text, extra);
            break;
        case WORD_OPTION:
            go_on = take_option(p, w);
            break;
        case WORD_AMBIGUOUS:
            go_on = complain_ambiguous(p, text);
            break;
        case WORD_UNKNOWN:
            go_on = complain_unknown(p, text);
            break;
        }
        if (!go_on) {
            return false;
        }
    }
    return true;
}

static bool parse_command_line(struct cli *c, int argc, char **argv, struct buf *message)
{
    size_t n = argc > 0 ? (size_t)argc - 1 : 0;
    struct parser p = {.c = c, .source = SETTINGS_COMMAND_LINE, .words = argv + 1, .n = n, .message = message};
    struct buf extra = {0};
    bool go_on = parse_words(&p, &extra);
    if (go_on && extra.len > 0) {
        complain(&p);
        buf_printf(message, "unrecognized arguments:%s\n", extra.data);
        go_on = false;
    }
    buf_finish(&extra);
    return go_on;
}

static bool parse_variable(struct cli *c, enum settings_source source, struct buf *message)
{
    const char *name = settings_source_name(source);
    const char *text = getenv(name);
    struct strings words = {0};
    if (!text) {
        return true;
    }
    int r = words_split(text, &words);
    if (r < 0) {
        c->status = EXIT_FAILURE;
        buf_printf(message, "%s: %s\n", name, r == -EINVAL ? "a quote or a backslash has no end" : strerror(-r));
        return false;
    }
    struct parser p = {.c = c, .source = source, .words = words.v, .n = words.n, .message = message};
    bool go_on = parse_words(&p, NULL);
    words_finish(&words);
    return go_on;
}

bool cli_parse(struct cli *c, int argc, char **argv, struct buf *message)
{
    *c = (struct cli){0};
    if (!parse_command_line(c, argc, argv, message) || !parse_variable(c, SETTINGS_CWSGI_ARGS, message) ||
        !parse_variable(c, SETTINGS_GUNICORN_ARGS, message)) {
        return false;
    }
    enum settings_source from = SETTINGS_DEFAULT;
    for (size_t i = 0; i < c->n_options; i++) {
        const struct cli_option *o = &c->options[i];
        if (strcmp(o->setting->name, "config") == 0 && *o->value && o->source >= from) {
            c->config = o->value;
            from = o->source;
        }
    }
    return true;
}

void cli_finish(struct cli *c)
{
    for (size_t i = 0; i < c->n_options; i++) {
        free(c->options[i].value);
    }
    free(c->options);
    free(c->application);
    *c = (struct cli){0};
}

/* All values that one source gave a setting, at once: a list replaces what lower sources said. */
static int apply_from(const struct cli *c, size_t first, const char **values, struct settings *s, struct buf *error)
{
    const struct cli_option *o = &c->options[first];
    size_t n = 0;
    for (size_t i = first; i < c->n_options; i++) {
        if (c->options[i].setting == o->setting && c->options[i].source == o->source) {
            n = adds_up(o->setting) ? n + 1 : 1;
            values[n - 1] = c->options[i].value;
        }
    }
    return settings_set(s, o->setting->name, values, n, o->source, error);
}

static bool is_first(const struct cli *c, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (c->options[i].setting == c->options[at].setting && c->options[i].source == c->options[at].source) {
            return false;
        }
    }
    return true;
}

int cli_apply(const struct cli *c, struct settings *s, struct buf *error)
{
    const char **values = calloc(c->n_options + 1, sizeof(*values));
    if (!values) {
        buf_puts(error, "Out of memory");
        return -1;
    }
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->n_options; i++) {
        r = is_first(c, i) ? apply_from(c, i, values, s, error) : 0;
    }
    if (r == 0 && c->application) {
        values[0] = c->application;
        r = settings_set(s, "default_proc_name", values, 1, SETTINGS_ENVIRONMENT, error);
    }
    free(values);
    return r;
}

const char *cli_application(const struct cli *c, const struct settings *s, struct buf *error)
{
    const char *name = s->paste ? s->paste : c->application ? c->application : s->wsgi_app;
    if (!name) {
        buf_puts(error, "No application module specified. Name it as MODULE:NAME");
    }
    return name;
}

/* value.c - one setting's value: from text, and in memory. */
#include "server/config/value.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/ascii.h"
#include "server/base/buf.h"
#include "server/base/cwd.h"
#include "server/base/network.h"
#include "server/base/processors.h"
#include "server/base/str.h"
#include "server/config/words.h"

#define SECONDS_MAX (INT_MAX / 1000) /* so that it fits an int in milliseconds, too */

enum value_kind value_kind(const struct setting *row)
{
    switch (row->type) {
    case SETTING_INT:
    case SETTING_COUNT:
    case SETTING_SECONDS:
    case SETTING_OCTAL:
    case SETTING_BOOL_AUTO:
        return VALUE_INT;
    case SETTING_SIZE:
        return VALUE_SIZE;
    case SETTING_BOOL:
    case SETTING_BOOL_OFF:
        return VALUE_BOOL;
    case SETTING_STRINGS:
    case SETTING_CSV:
    case SETTING_ADDRESSES:
    case SETTING_PAIRS:
        return VALUE_LIST;
    case SETTING_STR:
    case SETTING_LOGLEVEL:
    case SETTING_ENDPOINT:
    case SETTING_DIR:
    case SETTING_USER:
    case SETTING_GROUP:
    case SETTING_DICT:
    case SETTING_HOOK:
        break;
    }
    return VALUE_TEXT;
}

/* A copy without the white space around it, or NULL when memory is short. */
static char *trimmed(const char *text, size_t len)
{
    while (len > 0 && ascii_is_space(*text)) {
        text++, len--;
    }
    while (len > 0 && ascii_is_space(text[len - 1])) {
        len--;
    }
    return strndup(text, len);
}

/* Adds a trimmed copy, if anything is left of it. 0 or -ENOMEM. */
static int strings_add(struct strings *list, const char *text, size_t len)
{
    char **v = reallocarray(list->v, list->n + 1, sizeof(*v));
    if (!v) {
        return -ENOMEM;
    }
    list->v = v;
    char *copy = trimmed(text, len);
    if (!copy) {
        return -ENOMEM;
    }
    if (*copy == '\0') {
        free(copy);
        return 0;
    }
    list->v[list->n++] = copy;
    return 0;
}

/* Where `text` stands in "a|b|c=a", from 0 on, or -1. *as: how it is spelt there; a synonym is spelt as what it is one
 * of. */
static int find_choice(const char *choices, const char *text, const char **as, size_t *as_len)
{
    size_t len = strlen(text);
    int n = 0;
    for (const char *c = choices; *c; c += *c == '|', n++) {
        size_t name = strcspn(c, "|="), all = strcspn(c, "|");
        if (str_ieq((struct str){c, name}, (struct str){text, len})) {
            *as = name < all ? c + name + 1 : c;
            *as_len = name < all ? all - name - 1 : name;
            return n;
        }
        c += all;
    }
    return -1;
}

static bool is_choice(const char *choices, const char *text)
{
    const char *as;
    size_t len;
    return find_choice(choices, text, &as, &len) >= 0;
}

static bool has_choices(const struct setting *row)
{
    return row->allowed && strchr(row->allowed, '|');
}

int value_choice(const struct setting *row, const char *text)
{
    const char *as;
    size_t len;
    return has_choices(row) ? find_choice(row->allowed, text, &as, &len) : -1;
}

/* Takes "//", "/./" and "x/.." out of an absolute path, by its text alone, as Python's abspath does. */
static void normalise(char *path)
{
    char *out = path;
    for (const char *in = path; *in;) {
        const char *part = in + strspn(in, "/");
        size_t len = strcspn(part, "/");
        in = part + len;
        if (len == 2 && strncmp(part, "..", 2) == 0) {
            while (out > path && *--out != '/') {
            }
        } else if (len > 0 && !(len == 1 && *part == '.')) {
            *out++ = '/';
            memmove(out, part, len);
            out += len;
        }
    }
    if (out == path) {
        *out++ = '/';
    }
    *out = '\0';
}

/* `text` as an absolute path. 0 or -errno. */
static int absolute(const char *text, char **path)
{
    struct buf b = {0};
    char *dir = *text == '/' ? NULL : cwd_logical();
    if (*text != '/' && !dir) {
        return -errno;
    }
    int r = buf_printf(&b, "%s/%s", dir ? dir : "", text);
    free(dir);
    if (r < 0) {
        buf_finish(&b);
        return r;
    }
    *path = b.data;
    normalise(*path);
    return 0;
}

static int no_memory(struct buf *error)
{
    buf_puts(error, "Out of memory");
    return -1;
}

int value_invalid(struct buf *error, const struct setting *row, const char *value, enum settings_source source,
                  const char *sentence)
{
    buf_printf(error, "Invalid value for %s: %.500s: %s (from %s)", row->name, value, sentence,
               settings_source_name(source));
    return -1;
}

/* The ends of "1..100" or "1..". */
static void range_of(const struct setting *row, long long *min, long long *max)
{
    *max = row->type == SETTING_SIZE ? LLONG_MAX : row->type == SETTING_SECONDS ? SECONDS_MAX : INT_MAX;
    char *dots;
    *min = strtoll(row->allowed, &dots, 10);
    if (dots[2]) {
        *max = strtoll(dots + 2, NULL, 10);
    }
}

long long value_max(const struct setting *row)
{
    long long min, max;
    range_of(row, &min, &max);
    return max;
}

/* What K, M or G behind a number of bytes stand for, or 1. */
static long long unit_of(const struct setting *row, const char *suffix)
{
    const char *units = "KMG", *unit = *suffix && suffix[1] == '\0' ? strchr(units, ascii_upper(*suffix)) : NULL;
    return row->type == SETTING_SIZE && unit ? 1LL << (10 * (unit - units + 1)) : 1;
}

static int parse_number(const struct setting *row, const char *text, long long *number, enum settings_source source,
                        struct buf *error)
{
    if (row->type == SETTING_COUNT && str_ieq(str_of(text), STR("auto"))) {
        *number = 2 * processors_usable() + 1;
        return 0;
    }
    const char *digits = text;
    int base = 10;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
    } else if (text[0] == '0' && (text[1] == 'o' || text[1] == 'O')) {
        base = 8;
        digits += 2;
    } else if (row->type == SETTING_OCTAL && text[0] == '0') {
        base = 8;
    }
    char *end;
    errno = 0;
    *number = strtoll(digits, &end, base);
    long long unit = unit_of(row, end);
    bool whole =
        end != digits && (*end == '\0' || unit > 1) && errno == 0 && !__builtin_mul_overflow(*number, unit, number);

    long long min, max;
    range_of(row, &min, &max);
    if (whole && *number >= min && *number <= max) {
        return 0;
    }
    char sentence[80];
    snprintf(sentence, sizeof(sentence),
             row->type == SETTING_OCTAL   ? "it must be a number from %#llo to %#llo"
             : row->type == SETTING_COUNT ? "it must be a whole number from %lld to %lld, or auto"
             : row->type == SETTING_SIZE  ? "it must be a number of bytes from %lld to %lld, such as 300M"
                                          : "it must be a whole number from %lld to %lld",
             min, max);
    return value_invalid(error, row, text, source, sentence);
}

static int parse_bool(const struct setting *row, const char *text, bool *flag, enum settings_source source,
                      struct buf *error)
{
    *flag = is_choice("true|1|yes|y|on", text);
    if (*flag || is_choice("false|0|no|n|off", text)) {
        return 0;
    }
    return value_invalid(error, row, text, source,
                         row->type == SETTING_BOOL_AUTO ? "it must be true, false or auto"
                                                        : "it must be true or false");
}

/* The text as the row's choices spell it, or -1 with a sentence. */
static int parse_choice(const struct setting *row, const char *text, char **copy, enum settings_source source,
                        struct buf *error)
{
    const char *as;
    size_t len;
    if (find_choice(row->allowed, text, &as, &len) >= 0) {
        *copy = strndup(as, len);
        return *copy ? 0 : no_memory(error);
    }
    char sentence[120];
    size_t at = (size_t)snprintf(sentence, sizeof(sentence), "it must be one of");
    const char *before = " ";
    for (const char *c = row->allowed; *c && at < sizeof(sentence); c += *c == '|') {
        size_t name = strcspn(c, "|="), all = strcspn(c, "|");
        if (name == all) { /* no synonym */
            at += (size_t)snprintf(sentence + at, sizeof(sentence) - at, "%s%.*s", before, (int)name, c);
            before = ", ";
        }
        c += all;
    }
    return value_invalid(error, row, text, source, sentence);
}

/* An enum setting_auto. */
static int parse_auto(const struct setting *row, const char *text, int *number, enum settings_source source,
                      struct buf *error)
{
    bool flag = false;
    if (str_ieq(str_of(text), STR("auto"))) {
        *number = SETTING_AUTO;
        return 0;
    }
    int r = parse_bool(row, text, &flag, source, error);
    *number = flag ? SETTING_TRUE : SETTING_FALSE;
    return r;
}

static int parse_text(const struct setting *row, const char *text, char **copy, enum settings_source source,
                      struct buf *error)
{
    /* Others than the choices of what is refused are judged later, settings_check says why; and as in gunicorn a level
     * that nobody knows means "info", so that an odd environment variable stops no server. */
    bool lenient = row->type == SETTING_LOGLEVEL || (row->support == SETTING_REFUSED && value_choice(row, text) < 0);
    if (has_choices(row) && !lenient) {
        return parse_choice(row, text, copy, source, error);
    }
    if (row->type == SETTING_DIR && *text) {
        int r = absolute(text, copy);
        return r == 0 ? 0 : value_invalid(error, row, text, source, strerror(-r));
    }
    *copy = strdup(text);
    return *copy ? 0 : no_memory(error);
}

/* Does every item of the list look as the row wants it? */
static int check_items(const struct setting *row, const struct strings *list, enum settings_source source,
                       struct buf *error)
{
    bool networks = row->allowed && strcmp(row->allowed, "ip") == 0;
    for (size_t i = 0; i < list->n; i++) {
        const char *text = list->v[i];
        struct network network;
        int r = networks && strcmp(text, "*") != 0 ? network_parse(&network, text) : 0;
        if (r == -ERANGE) {
            return value_invalid(error, row, text, source, "the address has bits set behind the network's prefix");
        }
        if (r < 0) {
            return value_invalid(error, row, text, source, "it must be an address, a network such as 10.0.0.0/8, or *");
        }
        if (row->type == SETTING_PAIRS && (*text == '=' || !strchr(text, '='))) {
            return value_invalid(error, row, text, source, "it must look like NAME=VALUE");
        }
    }
    return 0;
}

static int parse_list(const struct setting *row, const char *const *texts, size_t n, struct strings *list,
                      enum settings_source source, struct buf *error)
{
    const char *separators = row->type == SETTING_STRINGS ? "" : row->type == SETTING_PAIRS ? "\n" : ",";
    for (size_t i = 0; i < n; i++) {
        for (const char *p = texts[i]; *p; p += *p != '\0') {
            size_t len = strcspn(p, separators);
            if (strings_add(list, p, len) < 0) {
                words_finish(list);
                return no_memory(error);
            }
            p += len;
        }
    }
    if (check_items(row, list, source, error) < 0) {
        words_finish(list);
        return -1;
    }
    return 0;
}

/* One trimmed text into a value that is no list. */
static int parse_one(union value *v, const struct setting *row, const char *text, enum settings_source source,
                     struct buf *error)
{
    long long number = 0;
    int r = 0;

    switch (value_kind(row)) {
    case VALUE_INT:
        if (row->type == SETTING_BOOL_AUTO) {
            return parse_auto(row, text, &v->number, source, error);
        }
        r = parse_number(row, text, &number, source, error);
        v->number = (int)number;
        return r;
    case VALUE_SIZE:
        r = parse_number(row, text, &number, source, error);
        v->size = (size_t)number;
        return r;
    case VALUE_BOOL:
        return parse_bool(row, text, &v->flag, source, error);
    case VALUE_TEXT:
        return parse_text(row, text, &v->text, source, error);
    case VALUE_LIST:
        break;
    }
    assert(!"lists are parsed elsewhere");
    return -1;
}

static bool is_as_none(const struct setting *row, const char *text)
{
    return row->allowed && strcmp(row->allowed, "*") == 0 && text[strspn(text, " \t\n\r\v\f")] == '\0';
}

int value_parse(union value *v, const struct setting *row, const char *const *texts, size_t n,
                enum settings_source source, struct buf *error)
{
    *v = (union value){0};
    enum value_kind kind = value_kind(row);
    if (n == 0 && row->type != SETTING_BOOL_AUTO &&
        (kind == VALUE_INT || kind == VALUE_SIZE || row->type == SETTING_PAIRS)) {
        return value_invalid(error, row, "None", source, "it needs a value");
    }
    if (kind == VALUE_LIST) {
        return parse_list(row, texts, n, &v->list, source, error);
    }
    if (n > 1) {
        return value_invalid(error, row, texts[1], source, "it takes one value, not several");
    }
    bool none = n == 0 || (kind == VALUE_TEXT && is_as_none(row, texts[0]));
    const char *given = none ? row->default_value : texts[0];
    if (!given) {
        return 0;
    }
    char *text = trimmed(given, strlen(given));
    if (!text) {
        return no_memory(error);
    }
    int r = parse_one(v, row, text, source, error);
    free(text);
    return r;
}

void value_finish(union value *v, const struct setting *row)
{
    if (value_kind(row) == VALUE_TEXT) {
        free(v->text);
    } else if (value_kind(row) == VALUE_LIST) {
        words_finish(&v->list);
    }
    *v = (union value){0};
}

union value value_load(const void *member, const struct setting *row)
{
    union value v = {0};
    switch (value_kind(row)) {
    case VALUE_TEXT:
        v.text = *(char *const *)member;
        break;
    case VALUE_INT:
        v.number = *(const int *)member;
        break;
    case VALUE_SIZE:
        v.size = *(const size_t *)member;
        break;
    case VALUE_BOOL:
        v.flag = *(const bool *)member;
        break;
    case VALUE_LIST:
        v.list = *(const struct strings *)member;
        break;
    }
    return v;
}

void value_store(void *member, const union value *v, const struct setting *row)
{
    union value old = value_load(member, row);
    value_finish(&old, row);
    switch (value_kind(row)) {
    case VALUE_TEXT:
        *(char **)member = v->text;
        break;
    case VALUE_INT:
        *(int *)member = v->number;
        break;
    case VALUE_SIZE:
        *(size_t *)member = v->size;
        break;
    case VALUE_BOOL:
        *(bool *)member = v->flag;
        break;
    case VALUE_LIST:
        *(struct strings *)member = v->list;
        break;
    }
}

bool value_is_empty(const union value *v, const struct setting *row)
{
    if (value_kind(row) == VALUE_LIST) {
        return v->list.n == 0;
    }
    return value_kind(row) == VALUE_TEXT && v->text && *v->text == '\0';
}

/* valueout.c - one setting's value as text: as gunicorn prints it, and as JSON. */
#include "server/config/valueout.h"

#include <string.h>
#include <unistd.h>

#include "server/base/account.h"
#include "server/base/buf.h"
#include "server/base/json.h"
#include "server/base/statsd.h"
#include "server/config/value.h"

/* Python's repr of a str. */
static int print_repr(const char *text, size_t len, struct buf *out)
{
    char quote = memchr(text, '\'', len) && !memchr(text, '"', len) ? '"' : '\'';
    int r = buf_append(out, &quote, 1);
    for (const char *p = text; r == 0 && p < text + len; p++) {
        unsigned char c = (unsigned char)*p;
        if (*p == quote || *p == '\\') {
            r = buf_printf(out, "\\%c", *p);
        } else if (*p == '\n' || *p == '\r' || *p == '\t') {
            r = buf_puts(out, *p == '\n' ? "\\n" : *p == '\r' ? "\\r" : "\\t");
        } else if (c < ' ' || c == 0x7f) {
            r = buf_printf(out, "\\x%02x", c);
        } else {
            r = buf_append(out, p, 1);
        }
    }
    return r == 0 ? buf_append(out, &quote, 1) : r;
}

static int print_list(const struct strings *list, struct buf *out)
{
    int r = buf_puts(out, "[");
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        r = i > 0 ? buf_puts(out, ", ") : 0;
        r = r == 0 ? print_repr(list->v[i], strlen(list->v[i]), out) : r;
    }
    return r == 0 ? buf_puts(out, "]") : r;
}

static int print_pairs(const struct strings *list, struct buf *out)
{
    int r = buf_puts(out, "{");
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        const char *name = list->v[i], *equals = strchr(name, '=');
        r = i > 0 ? buf_puts(out, ", ") : 0;
        r = r == 0 ? print_repr(name, (size_t)(equals - name), out) : r;
        r = r == 0 ? buf_puts(out, ": ") : r;
        r = r == 0 ? print_repr(equals + 1, strlen(equals + 1), out) : r;
    }
    return r == 0 ? buf_puts(out, "}") : r;
}

/* ('localhost', 8125), as gunicorn keeps an address. */
static int print_endpoint(const char *text, struct buf *out)
{
    const char *path = statsd_path(text);
    if (path) {
        return buf_puts(out, path);
    }
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    size_t len = colon && (!bracket || bracket < colon) ? (size_t)(colon - text) : strlen(text);
    const char *port = text[len] ? text + len + 1 : STATSD_PORT;
    bool v6 = bracket && *text == '[';
    int r = buf_puts(out, "(");
    r = r == 0 ? print_repr(text + v6, len - 2 * (size_t)v6, out) : r;
    return r == 0 ? buf_printf(out, ", %s)", port) : r;
}

static int print_text(const struct setting *row, const char *text, struct buf *out)
{
    if (row->type == SETTING_ENDPOINT && text) {
        return print_endpoint(text, out);
    }
    if (row->type == SETTING_HOOK) {
        return buf_printf(out, "<%s()>", text);
    }
    uid_t uid = geteuid();
    if (row->type == SETTING_USER && (!text || account_user(text, &uid) == 0)) {
        return buf_printf(out, "%u", uid);
    }
    gid_t gid = getegid();
    if (row->type == SETTING_GROUP && (!text || account_group(text, &gid) == 0)) {
        return buf_printf(out, "%u", gid);
    }
    return buf_puts(out, text ? text : "None");
}

void value_json(const union value *v, const struct setting *row, struct json *j)
{
    switch (value_kind(row)) {
    case VALUE_TEXT:
        json_text(j, v->text);
        break;
    case VALUE_INT:
        json_int(j, v->number);
        break;
    case VALUE_SIZE:
        json_uint(j, v->size);
        break;
    case VALUE_BOOL:
        json_bool(j, v->flag);
        break;
    case VALUE_LIST:
        json_open(j, '[');
        for (size_t i = 0; i < v->list.n; i++) {
            json_text(j, v->list.v[i]);
        }
        json_close(j, ']');
        break;
    }
}

int value_print(const union value *v, const struct setting *row, struct buf *out)
{
    switch (value_kind(row)) {
    case VALUE_TEXT:
        return print_text(row, v->text, out);
    case VALUE_INT:
        if (row->type == SETTING_BOOL_AUTO) {
            return buf_puts(out, v->number == SETTING_AUTO ? "auto" : v->number == SETTING_TRUE ? "True" : "False");
        }
        return buf_printf(out, "%d", v->number);
    case VALUE_SIZE:
        return buf_printf(out, "%zu", v->size);
    case VALUE_BOOL:
        return buf_puts(out, v->flag ? "True" : "False");
    case VALUE_LIST:
        break;
    }
    return row->type == SETTING_PAIRS ? print_pairs(&v->list, out) : print_list(&v->list, out);
}

/* accesslog.c - compiles access_log_format once; prints a finished exchange. */
#include "server/http/accesslog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "server/base/ascii.h"
#include "server/base/buf.h"
#include "server/base/digits.h"
#include "server/base/json.h"
#include "server/http/atoms.h"
#include "server/http/exchange.h"

#define COMBINED "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\""

/* The fields of json and logfmt, in order. */
static const struct {
    const char *name, *atom;
} FIELDS[] = {
    {"time", "time"},
    {"client", "h"},
    {"user", "u"},
    {"method", "m"},
    {"target", "target"},
    {"protocol", "version"},
    {"status", "s"},
    {"bytes", "b"},
    {"bytes_in", "bytes_in"},
    {"duration_us", "D"},
    {"queue_us", "queue_us"},
    {"ttfb_us", "ttfb_us"},
    {"referer", "f"},
    {"user_agent", "a"},
    {"request_id", "request_id"},
    {"connection", "conn"},
    {"connection_requests", "conn_requests"},
    {"tls", "tls"},
    {"cipher", "cipher"},
    {"worker", "worker"},
    {"pid", "pid"},
};
#define N_FIELDS (sizeof(FIELDS) / sizeof(FIELDS[0]))

#define MAX_WIDTH 1000

struct step {
    atom_get *get;   /* NULL: `text` as it is */
    int width;       /* of a text's value at least, filled with spaces: negative on the right, else on the left */
    struct str text; /* in `format`: to be printed, of a field before its value; else what `get` is asked for */
};

enum style { STYLE_TEXT, STYLE_OBJECT, STYLE_JSON, STYLE_LOGFMT };

struct accesslog {
    enum style style;
    bool times;
    char *format;       /* owned: what the steps' texts lie in */
    struct step *steps; /* owned */
    size_t n;
    struct str *variables; /* owned: what `wanted` names */
    struct wanted wanted;
    unsigned worker;
    long pid;
    char start[ATOM_START + 1];
};

/* Compiling */

static struct atom_value get_unknown(struct finished *f, struct str argument)
{
    (void)f, (void)argument;
    return (struct atom_value){.kind = VALUE_NONE};
}

/* One "%(...)s" at `p`, which stands behind "%(". Returns where it ends, or NULL when it is none. */
static const char *compile_atom(struct accesslog *a, const char *p, struct step *step)
{
    const char *close = strchr(p, ')');
    if (!close) {
        return NULL;
    }
    const char *end = close + 1;
    bool left = *end == '-';
    end += left;
    while (ascii_is_digit(*end) && step->width < MAX_WIDTH) {
        step->width = 10 * step->width + *end++ - '0';
    }
    step->width = left ? -step->width : step->width;
    if (!ascii_is_letter(*end)) {
        return NULL;
    }
    if (*p == '{') {
        const char *brace = memchr(p, '}', (size_t)(close - p));
        if (brace && brace + 2 == close) {
            step->get = atom_find_braced(brace[1]);
            step->text = (struct str){p + 1, (size_t)(brace - p - 1)};
        }
    } else {
        step->get = atom_find((struct str){p, (size_t)(close - p)}, &a->times);
    }
    if (!step->get) {
        step->get = get_unknown;
    }
    return end + 1; /* the conversion letter is always printed as text */
}

static int compile_text(struct accesslog *a, const char *format)
{
    a->format = strdup(format);
    if (!a->format) {
        return -ENOMEM;
    }
    const char *p = a->format, *text = p;
    while (*p) {
        struct step step = {0};
        const char *next = NULL;
        if (p[0] == '%' && p[1] == '(') {
            next = compile_atom(a, p + 2, &step);
        } else if (p[0] == '%' && p[1] == '%') {
            step.text = (struct str){p, 1};
            next = p + 2;
        }
        if (!next) {
            p++;
            continue;
        }
        if (p > text) {
            a->steps[a->n++] = (struct step){.text = {text, (size_t)(p - text)}};
        }
        a->steps[a->n++] = step;
        p = text = next;
    }
    if (p > text) {
        a->steps[a->n++] = (struct step){.text = {text, (size_t)(p - text)}};
    }
    return 0;
}

static int list_variables(struct accesslog *a)
{
    a->variables = calloc(a->n + 1, sizeof(*a->variables));
    if (!a->variables) {
        return -ENOMEM;
    }
    a->wanted.names = a->variables;
    for (size_t i = 0; i < a->n; i++) {
        if (a->steps[i].get && a->steps[i].get == atom_find_braced('e')) {
            a->variables[a->wanted.n++] = a->steps[i].text;
        }
    }
    return 0;
}

/* The text before each value, of all fields one behind the other: {"time": or time= first, then ,"name": or name= */
static int compile_fields(struct accesslog *a)
{
    bool json = a->style == STYLE_JSON;
    size_t ends[N_FIELDS], from = 0;
    struct buf names = {0};
    int r = 0;
    for (size_t i = 0; i < N_FIELDS && r == 0; i++) {
        const char *first = json ? "{\"" : "", *others = json ? ",\"" : " ";
        r = buf_printf(&names, "%s%s%s", i > 0 ? others : first, FIELDS[i].name, json ? "\":" : "=");
        ends[i] = names.len;
    }
    a->format = names.data; /* ours now */
    for (size_t i = 0; i < N_FIELDS && r == 0; i++) {
        a->steps[a->n++] = (struct step){.get = atom_find(str_of(FIELDS[i].atom), &a->times),
                                         .text = {a->format + from, ends[i] - from}};
        from = ends[i];
    }
    return r;
}

static enum style style_of(const char *format)
{
    size_t len = strlen(format);
    if (strcmp(format, "json") == 0) {
        return STYLE_JSON;
    }
    if (strcmp(format, "logfmt") == 0) {
        return STYLE_LOGFMT;
    }
    return len >= 2 && format[0] == '{' && format[len - 1] == '}' ? STYLE_OBJECT : STYLE_TEXT;
}

struct accesslog *accesslog_create(const char *format, unsigned worker)
{
    struct accesslog *a = calloc(1, sizeof(*a));
    if (!a) {
        return NULL;
    }
    a->worker = worker;
    a->pid = (long)getpid();
    uint64_t start;
    if (getrandom(&start, sizeof(start), GRND_NONBLOCK) != (ssize_t)sizeof(start)) {
        start = (uint64_t)a->pid << 32 | worker; /* just after the system's start */
    }
    snprintf(a->start, sizeof(a->start), "%016" PRIx64, start);
    a->style = style_of(format);
    bool fields = a->style == STYLE_JSON || a->style == STYLE_LOGFMT;
    if (strcmp(format, "combined") == 0) {
        format = COMBINED;
    }
    /* every step of a text stands for at least one character */
    a->steps = calloc(fields ? N_FIELDS : strlen(format) + 1, sizeof(*a->steps));
    int r = !a->steps ? -ENOMEM : fields ? compile_fields(a) : compile_text(a, format);
    r = r == 0 ? list_variables(a) : r;
    if (r < 0) {
        accesslog_destroy(a);
        return NULL;
    }
    return a;
}

void accesslog_destroy(struct accesslog *a)
{
    if (a) {
        free(a->format);
        free(a->steps);
        free(a->variables);
        free(a);
    }
}

const struct wanted *accesslog_wanted(const struct accesslog *a)
{
    return a->wanted.n > 0 ? &a->wanted : NULL;
}

bool accesslog_wants_times(const struct accesslog *a)
{
    return a->times;
}

/* Printing */

/* As buf_append, without a call where there is room: a line is made of some fifty pieces. */
static inline int put(struct buf *out, const char *p, size_t len)
{
    if (out->cap - out->len < len || len == 0) { /* nothing, perhaps of nowhere, perhaps into nothing */
        return buf_append(out, p, len);
    }
    memcpy(out->data + out->len, p, len);
    out->len += len;
    return 0;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c != 0x7f && c != '"' && c != '\\';
}

/* How many bytes at the front need no escape. */
static size_t plain_span(const char *p, size_t len)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    size_t i = 0;
    /* Eight at a time. A high bit is left where a byte is below 0x20, is 0x7f or one of those two; perhaps in others as
     * well, which are looked at one by one then. */
    for (; i + 8 <= len; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, 8);
        uint64_t quote = (w ^ ones * '"') - ones, backslash = (w ^ ones * '\\') - ones, del = (w ^ ones * 0x7f) - ones;
        if (((w - ones * 0x20) | quote | backslash | del) & highs) {
            break;
        }
    }
    while (i < len && is_plain((unsigned char)p[i])) {
        i++;
    }
    return i;
}

static int put_escaped(struct buf *out, struct str s)
{
    for (;;) {
        size_t plain = plain_span(s.p, s.len);
        int r = put(out, s.p, plain);
        if (r < 0 || plain == s.len) {
            return r;
        }
        char c = s.p[plain];
        r = c == '"' ? put(out, "\\\"", 2) : buf_printf(out, "\\x%02X", (unsigned char)c);
        if (r < 0) {
            return r;
        }
        s = (struct str){s.p + plain + 1, s.len - plain - 1};
    }
}

static int put_number(struct buf *out, uint64_t n)
{
    char digits[DIGITS_MAX];
    return put(out, digits, digits_put(digits, n, 10));
}

/* What came from outside. */
static int put_client(struct buf *out, enum style style, struct str s)
{
    return style == STYLE_TEXT ? put_escaped(out, s) : json_escape(out, s.p, s.len);
}

/* "GET /path HTTP/1.1" */
static int put_request_line(struct buf *out, enum style style, const struct exchange *x)
{
    char version[VERSION_LEN];
    atom_spell_version(version, x);
    int r = put_client(out, style, x->request.method);
    r = r < 0 ? r : put(out, " ", 1);
    r = r < 0 ? r : put_client(out, style, x->request.target);
    r = r < 0 ? r : put(out, " ", 1);
    return r < 0 ? r : put(out, version, sizeof(version));
}

/* Without quotes. */
static int put_value(struct buf *out, enum style style, const struct atom_value *v, const struct exchange *x)
{
    switch (v->kind) {
    case VALUE_NUMBER:
        return put_number(out, v->number);
    case VALUE_OWN:
        return put(out, v->text.p, v->text.len);
    case VALUE_CLIENT:
        return put_client(out, style, v->text);
    case VALUE_REQUEST:
        return put_request_line(out, style, x);
    case VALUE_NONE:
        break;
    }
    return put(out, "-", 1);
}

static int put_quoted(struct buf *out, const struct atom_value *v, const struct exchange *x)
{
    int r = put(out, "\"", 1);
    r = r < 0 ? r : put_value(out, STYLE_JSON, v, x);
    return r < 0 ? r : put(out, "\"", 1);
}

static int put_json_field(struct buf *out, struct str name, const struct atom_value *v, const struct exchange *x)
{
    int r = put(out, name.p, name.len);
    if (r == 0 && v->kind == VALUE_NONE) {
        r = put(out, "null", 4);
    } else if (r == 0) {
        r = v->kind == VALUE_NUMBER ? put_number(out, v->number) : put_quoted(out, v, x);
    }
    return r;
}

/* Needs no quotes in logfmt. */
static bool is_word(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return s.len > 0;
}

static int put_logfmt_field(struct buf *out, struct str name, const struct atom_value *v, const struct exchange *x)
{
    int r = put(out, name.p, name.len);
    if (r == 0) {
        bool plain = v->kind == VALUE_NUMBER || is_word(v->text);
        r = plain ? put_value(out, STYLE_JSON, v, x) : put_quoted(out, v, x);
    }
    return r;
}

static int put_fields(const struct accesslog *a, struct buf *out, struct finished *f)
{
    bool json = a->style == STYLE_JSON;
    int r = 0;
    for (size_t i = 0; i < a->n && r == 0; i++) {
        struct atom_value v = a->steps[i].get(f, STR(""));
        if (json) {
            r = put_json_field(out, a->steps[i].text, &v, f->x);
        } else if (v.kind != VALUE_NONE) {
            r = put_logfmt_field(out, a->steps[i].text, &v, f->x);
        }
    }
    return r == 0 && json ? put(out, "}", 1) : r;
}

/* Fills what was put since `from` with spaces. */
static int pad(struct buf *out, size_t from, int width)
{
    size_t len = out->len - from, wanted = (size_t)abs(width);
    int r = 0;
    for (size_t n = len; n < wanted && r == 0; n++) {
        r = put(out, " ", 1);
    }
    if (r == 0 && width > 0 && len < wanted) {
        memmove(out->data + from + (wanted - len), out->data + from, len);
        memset(out->data + from, ' ', wanted - len);
    }
    return r;
}

static int put_text(const struct accesslog *a, struct buf *out, struct finished *f)
{
    int r = 0;
    for (size_t i = 0; i < a->n && r == 0; i++) {
        const struct step *step = &a->steps[i];
        if (step->get) {
            struct atom_value v = step->get(f, step->text);
            size_t from = out->len;
            r = put_value(out, a->style, &v, f->x);
            r = r == 0 && step->width ? pad(out, from, step->width) : r;
        } else {
            r = put(out, step->text.p, step->text.len);
        }
    }
    return r;
}

int accesslog_format(const struct accesslog *a, struct buf *out, const struct exchange *x, const struct clock *clock,
                     uint64_t sent, uint64_t took_us)
{
    struct finished f;
    f.x = x;
    f.clock = clock;
    f.sent = sent;
    f.took_us = took_us;
    f.worker = a->worker;
    f.pid = a->pid;
    f.start = a->start;
    size_t before = out->len;
    int r = (a->style == STYLE_JSON || a->style == STYLE_LOGFMT ? put_fields : put_text)(a, out, &f);
    if (r == 0) {
        r = put(out, "\n", 1);
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}

/* settings.c - the table as a struct: defaults, checks, print. */
#include "server/config/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/account.h"
#include "server/base/buf.h"
#include "server/base/clock.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/config/value.h"
#include "server/config/valueout.h"

static const struct setting table[SETTINGS_ROWS] = {
#define SECTION(title) {.section = (title)},
#define SETTING(n, t, flags_, env, def, range, how, why_, help_)                                                       \
    {.name = #n,                                                                                                       \
     .type = SETTING_##t,                                                                                              \
     .flags = (flags_),                                                                                                \
     .environment = (env),                                                                                             \
     .default_value = (def),                                                                                           \
     .allowed = (range),                                                                                               \
     .support = SETTING_##how,                                                                                         \
     .why = (why_),                                                                                                    \
     .help = (help_),                                                                                                  \
     .offset = offsetof(struct settings, n)},
#include "server/config/settings.def"
#undef SECTION
#undef SETTING
};

const struct setting *settings_table(void)
{
    return table;
}

const struct setting *settings_find(const char *name)
{
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (table[i].name && strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

int settings_max(const char *name)
{
    return (int)value_max(settings_find(name));
}

const char *settings_source_name(enum settings_source source)
{
    static const char *const names[] = {"the defaults",      "the environment", "the configuration file",
                                        "GUNICORN_CMD_ARGS", "CWSGI_CMD_ARGS",  "the command line"};
    return names[source];
}

static void *member(struct settings *s, const struct setting *row)
{
    return (char *)s + row->offset;
}

static union value load(const struct settings *s, const struct setting *row) /* borrowed */
{
    return value_load((const char *)s + row->offset, row);
}

static enum settings_source source_of(const struct settings *s, const struct setting *row)
{
    return s->source[row - table];
}

static int set_row(struct settings *s, const struct setting *row, const char *const *values, size_t n,
                   enum settings_source source, struct buf *error)
{
    union value v;
    if (value_parse(&v, row, values, n, source, error) < 0) {
        return -1;
    }
    if (source < source_of(s, row)) {
        value_finish(&v, row);
        return 0;
    }
    value_store(member(s, row), &v, row);
    s->source[row - table] = (unsigned char)source;
    return 0;
}

int settings_set(struct settings *s, const char *name, const char *const *values, size_t n, enum settings_source source,
                 struct buf *error)
{
    const struct setting *row = settings_find(name);
    if (!row) {
        buf_printf(error, "There is no setting %s", name);
        return -1;
    }
    return set_row(s, row, values, n, source, error);
}

/* The value that the environment gives a row. A list may be given as empty: that means to trust nobody; elsewhere an
 * empty variable is as good as none. */
static int set_from_environment(struct settings *s, const struct setting *row, struct buf *error)
{
    size_t before = strcspn(row->environment, "$");
    const char *value = getenv(row->environment + before + 1);
    if (!value || (*value == '\0' && row->type != SETTING_CSV)) {
        return 0;
    }
    struct buf text = {0};
    int r = -1;
    if (buf_printf(&text, "%.*s%s", (int)before, row->environment, value) < 0) {
        buf_puts(error, "Out of memory");
    } else {
        r = set_row(s, row, (const char *const *)&text.data, 1, SETTINGS_ENVIRONMENT, error);
    }
    buf_finish(&text);
    return r;
}

int settings_init(struct settings *s, struct buf *error)
{
    *s = (struct settings){0};
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        const struct setting *row = &table[i];
        if (row->default_value && set_row(s, row, &row->default_value, 1, SETTINGS_DEFAULT, error) < 0) {
            return -1;
        }
        if (row->environment && set_from_environment(s, row, error) < 0) {
            return -1;
        }
    }
    return 0;
}

void settings_finish(struct settings *s)
{
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (table[i].name) {
            union value v = load(s, &table[i]);
            value_finish(&v, &table[i]);
        }
    }
    free(s->server_field);
    free(s->server_software);
    *s = (struct settings){0};
}

/* Was the row given a value that is not its default? What cannot be found out for want of memory counts as given. */
static bool is_changed(const struct settings *s, const struct setting *row)
{
    if (!row->name || source_of(s, row) == SETTINGS_DEFAULT) {
        return false;
    }
    union value given = load(s, row), plain;
    struct buf now = {0}, before = {0};
    if (value_parse(&plain, row, &row->default_value, row->default_value ? 1 : 0, SETTINGS_DEFAULT, &before) < 0) {
        buf_finish(&before);
        return true;
    }
    bool same = value_print(&given, row, &now) == 0 && value_print(&plain, row, &before) == 0 &&
                now.len == before.len && (now.len == 0 || memcmp(now.data, before.data, now.len) == 0);
    value_finish(&plain, row);
    buf_finish(&now);
    buf_finish(&before);
    return !same;
}

/* An empty value is often a script's variable that was not set: what it should have named would be missed in silence.
 */
static int check_empty(const struct settings *s, const struct setting *row, struct buf *error)
{
    union value v = load(s, row);
    if (!row->allowed || strcmp(row->allowed, "+") != 0 || source_of(s, row) == SETTINGS_DEFAULT ||
        !value_is_empty(&v, row)) {
        return 0;
    }
    buf_printf(error, "%s is empty: give it a value or leave it out (from %s)", row->name,
               settings_source_name(source_of(s, row)));
    return -1;
}

static int check_refused(const struct settings *s, const struct setting *row, struct buf *error)
{
    if (row->support != SETTING_REFUSED || !is_changed(s, row)) {
        return 0;
    }
    union value v = load(s, row);
    struct buf text = {0};
    int r = 0;
    if (value_print(&v, row, &text) < 0 || !buf_cstr(&text)) {
        buf_puts(error, "Out of memory");
        r = -1;
    } else if (value_choice(row, text.data) < 0) {
        r = value_invalid(error, row, text.data, source_of(s, row), row->why);
    }
    buf_finish(&text);
    return r;
}

static int check_id(const struct settings *s, const char *name, const char *text, struct buf *error)
{
    const struct setting *row = settings_find(name);
    bool user = row->type == SETTING_USER;
    uid_t uid;
    gid_t gid;
    if (!text || (user ? account_user(text, &uid) : account_group(text, &gid)) == 0) {
        return 0;
    }
    return value_invalid(error, row, text, source_of(s, row), user ? "no such user" : "no such group");
}

static int check_chdir(const struct settings *s, struct buf *error)
{
    struct stat st;
    int r = stat(s->chdir, &st);
    if (r == 0 && !S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        r = -1;
    } else if (r == 0) {
        r = eaccess(s->chdir, X_OK);
    }
    const struct setting *row = settings_find("chdir");
    return r == 0 ? 0 : value_invalid(error, row, s->chdir, source_of(s, row), strerror(errno));
}

/* Patterns may match nothing yet. */
static int check_extra_files(const struct settings *s, struct buf *error)
{
    const struct setting *row = settings_find("reload_extra_files");
    for (size_t i = 0; i < s->reload_extra_files.n; i++) {
        const char *path = s->reload_extra_files.v[i];
        if (!strpbrk(path, "*?[") && access(path, F_OK) < 0) {
            return value_invalid(error, row, path, source_of(s, row), strerror(errno));
        }
    }
    return 0;
}

static int check_raw_env(const struct settings *s, struct buf *error)
{
    const struct setting *row = settings_find("raw_env");
    for (size_t i = 0; i < s->raw_env.n; i++) {
        const char *entry = s->raw_env.v[i];
        if (*entry == '=' || !strchr(entry, '=')) {
            return value_invalid(error, row, entry, source_of(s, row), "it must look like NAME=VALUE");
        }
    }
    return 0;
}

/* What our own parser would refuse proves nothing of the application. */
static int check_target(const struct settings *s, struct buf *error)
{
    const char *path = s->check_path;
    if (!path) {
        return 0;
    }
    bool begins = *path == '/' || strncmp(path, "http://", 7) == 0 || strncmp(path, "https://", 8) == 0;
    for (const char *c = path; begins && *c; c++) {
        begins = *c > ' ' && *c < 0x7f && *c != '#';
    }
    if (!begins) {
        const struct setting *row = settings_find("check_path");
        return value_invalid(error, row, path, source_of(s, row), "it must be a path such as /hello, or a URL");
    }
    return 0;
}

static int check_recycling(const struct settings *s, struct buf *error)
{
    if (s->recycle_at && clock_next(s->recycle_at, 0) < 0) {
        const struct setting *row = settings_find("recycle_at");
        return value_invalid(error, row, s->recycle_at, source_of(s, row), "it must be a time of day such as 03:30");
    }
    if (s->max_worker_memory_hard && s->max_worker_memory_hard < s->max_worker_memory) {
        buf_printf(error, "max_worker_memory_hard is %zu, which is less than max_worker_memory (%zu)",
                   s->max_worker_memory_hard, s->max_worker_memory);
        return -1;
    }
    return 0;
}

int settings_check(const struct settings *s, struct buf *error)
{
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (table[i].name && (check_empty(s, &table[i], error) < 0 || check_refused(s, &table[i], error) < 0)) {
            return -1;
        }
    }
    if (s->keyfile && !s->certfile) {
        buf_printf(error, "keyfile is %s, but there is no certfile: name the certificate, too", s->keyfile);
        return -1;
    }
    if (s->cert_reqs > 0 && (!s->certfile || !s->ca_certs)) {
        buf_printf(error, "cert_reqs is %d, but there is no %s", s->cert_reqs,
                   s->certfile ? "ca_certs: name the authorities whose certificates are believed" : "certfile");
        return -1;
    }
    for (size_t i = 0; i < s->bind.n && !s->certfile; i++) {
        if (strncmp(s->bind.v[i], "https://", 8) == 0) {
            buf_printf(error, "bind is %s, but there is no certfile: name the certificate", s->bind.v[i]);
            return -1;
        }
    }
    if (check_id(s, "user", s->user, error) < 0 || check_id(s, "group", s->group, error) < 0 ||
        check_chdir(s, error) < 0 || check_extra_files(s, error) < 0 || check_target(s, error) < 0 ||
        check_recycling(s, error) < 0) {
        return -1;
    }
    return check_raw_env(s, error);
}

enum log_level settings_log_level(const struct settings *s)
{
    int level = value_choice(settings_find("loglevel"), s->loglevel);
    return level < 0 ? LOG_LEVEL_INFO : (enum log_level)level;
}

void settings_warn(const struct settings *s)
{
    if (value_choice(settings_find("loglevel"), s->loglevel) < 0) {
        log_warning("loglevel %s is unknown: it is one of debug, info, warning, error, critical; using info",
                    s->loglevel);
    }
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (table[i].support == SETTING_WARNED && is_changed(s, &table[i])) {
            log_warning("setting %s has no effect in cwsgi: %s", table[i].name, table[i].why);
        }
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct setting *const *)a)->name, (*(const struct setting *const *)b)->name);
}

int settings_print(const struct settings *s, struct buf *out)
{
    const struct setting *rows[SETTINGS_ROWS];
    size_t n = 0;
    int width = 0;
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (table[i].name) {
            int len = (int)strlen(table[i].name);
            width = len > width ? len : width;
            rows[n++] = &table[i];
        }
    }
    qsort(rows, n, sizeof(rows[0]), by_name);

    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        union value v = load(s, rows[i]);
        r = buf_printf(out, "%-*s = ", width, rows[i]->name);
        r = r == 0 ? value_print(&v, rows[i], out) : r;
        r = r == 0 ? buf_puts(out, "\n") : r;
    }
    return r;
}

int settings_print_json(const struct settings *s, struct buf *out)
{
    struct json j = {.out = out};
    json_open(&j, '{');
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (table[i].name) {
            union value v = load(s, &table[i]);
            json_key(&j, table[i].name);
            value_json(&v, &table[i], &j);
        }
    }
    json_close(&j, '}');
    return j.error < 0 ? j.error : buf_puts(out, "\n");
}

/* venv.c - finds the virtual environment that this process serves. */
#include "python/venv.h"

#include <errno.h>
#include <limits.h>
#include <patchlevel.h> /* Python's: its version numbers, nothing else */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/str.h"
#include "server/base/which.h"

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)
#define PYTHON_NAME "python" TEXT(PY_MAJOR_VERSION) "." TEXT(PY_MINOR_VERSION)

/* What pyvenv.cfg says. */
struct facts {
    int major, minor;        /* 0 when it names no version */
    char implementation[32]; /* virtualenv writes it; "" else */
    char home[PATH_MAX];     /* "" when it names none */
};

static int no_memory(struct buf *error)
{
    buf_puts(error, "out of memory");
    return -1;
}

static bool is_venv(const char *prefix)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof(path), "%s/pyvenv.cfg", prefix) < (int)sizeof(path) && access(path, F_OK) == 0;
}

/* Cuts the last component off; false when there is none to cut. */
static bool cut_last(char *path)
{
    char *slash = strrchr(path, '/');

    if (!slash) {
        return false;
    }
    *slash = '\0';
    return true;
}

/* "/p/bin/cwsgi" to "/p", if that is a venv. Owned by the caller, NULL when it is none. */
static char *venv_around(const char *program)
{
    char *prefix = strdup(program);

    if (prefix && cut_last(prefix) && cut_last(prefix) && prefix[0] != '\0' && is_venv(prefix)) {
        return prefix;
    }
    free(prefix);
    return NULL;
}

/* "/p/bin/python3.11" to "/p". */
static char *prefix_of(const char *python)
{
    char *prefix = strdup(python);

    if (prefix && !(cut_last(prefix) && cut_last(prefix))) {
        free(prefix);
        return NULL;
    }
    return prefix;
}

static char *trim(char *s)
{
    s += strspn(s, " \t");
    size_t len = strlen(s);
    while (len > 0 && strchr(" \t\r\n", s[len - 1])) {
        s[--len] = '\0';
    }
    return s;
}

static void take_fact(struct facts *f, const char *key, const char *value)
{
    /* venv writes "version", virtualenv and uv "version_info" */
    if (str_ieq(str_of(key), STR("version")) || str_ieq(str_of(key), STR("version_info"))) {
        int major, minor;
        if (sscanf(value, "%d.%d", &major, &minor) == 2) {
            f->major = major;
            f->minor = minor;
        }
    } else if (str_ieq(str_of(key), STR("implementation"))) {
        snprintf(f->implementation, sizeof(f->implementation), "%s", value);
    } else if (str_ieq(str_of(key), STR("home"))) {
        snprintf(f->home, sizeof(f->home), "%s", value);
    }
}

static int read_facts(const char *prefix, struct facts *f)
{
    char path[PATH_MAX];
    char *line = NULL;
    size_t cap = 0;

    memset(f, 0, sizeof(*f));
    if (snprintf(path, sizeof(path), "%s/pyvenv.cfg", prefix) >= (int)sizeof(path)) {
        return -ENAMETOOLONG;
    }
    FILE *file = fopen(path, "re");
    if (!file) {
        return -errno;
    }
    while (getline(&line, &cap, file) >= 0) {
        char *equals = strchr(line, '=');
        if (equals) {
            *equals = '\0';
            take_fact(f, trim(line), trim(equals + 1));
        }
    }
    free(line);
    fclose(file);
    return 0;
}

static int check(const char *prefix, char **home, struct buf *error)
{
    struct facts f;

    int r = read_facts(prefix, &f);
    if (r < 0) {
        buf_printf(error, "%s/pyvenv.cfg cannot be read: %s", prefix, strerror(-r));
        return -1;
    }
    if (f.implementation[0] && !str_ieq(str_of(f.implementation), STR("CPython"))) {
        buf_printf(error, "venv %s is for %s, but cwsgi serves CPython only", prefix, f.implementation);
        return -1;
    }
    if (f.major != 0 && (f.major != PY_MAJOR_VERSION || f.minor != PY_MINOR_VERSION)) {
        buf_printf(error,
                   "venv %s is for Python %d.%d, but this cwsgi is built for Python %d.%d: "
                   "install cwsgi into that venv (%s/bin/python -m pip install cwsgi)",
                   prefix, f.major, f.minor, PY_MAJOR_VERSION, PY_MINOR_VERSION, prefix);
        return -1;
    }
    *home = strdup(f.home);
    return *home ? 0 : no_memory(error);
}

/* 1 when a venv was found, 0 when there is none, -1 with a sentence. */
static int choose(char **prefix, const char *program, struct buf *error)
{
    char real[PATH_MAX];

    *prefix = venv_around(program);
    if (!*prefix && realpath(program, real)) {
        *prefix = venv_around(real); /* ~/bin/cwsgi may be a link into a venv */
    }
    if (*prefix) {
        return 1;
    }

    const char *active = getenv("VIRTUAL_ENV");
    if (!active || active[0] == '\0') {
        return 0;
    }
    *prefix = active[0] == '/' ? strdup(active) : realpath(active, NULL);
    if (!*prefix && active[0] == '/') {
        return no_memory(error);
    }
    if (!*prefix || !is_venv(*prefix)) {
        buf_printf(error, "VIRTUAL_ENV names %s, which is no virtual environment (it has no pyvenv.cfg)", active);
        return -1;
    }
    for (size_t len = strlen(*prefix); len > 1 && (*prefix)[len - 1] == '/'; len--) {
        (*prefix)[len - 1] = '\0';
    }
    return 1;
}

/* The Python that is served without a venv. Owned by the caller. NULL: there is none, or memory is short. */
static char *base_python(const char *program)
{
    if (CWSGI_PYTHON_EXECUTABLE[0] != '\0') {
        return strdup(CWSGI_PYTHON_EXECUTABLE);
    }
    char real[PATH_MAX];
    char *python = which_beside(program, PYTHON_NAME, which_can_run);
    if (!python && realpath(program, real)) {
        python = which_beside(real, PYTHON_NAME, which_can_run);
    }
    return python ? python : which_on_path(PYTHON_NAME, which_can_run);
}

int venv_find(struct venv *v, const char *program, struct buf *error)
{
    *v = (struct venv){0};

    int found = choose(&v->prefix, program, error);
    if (found < 0) {
        goto fail;
    }
    if (found) {
        if (check(v->prefix, &v->home, error) < 0) {
            goto fail;
        }
        if (asprintf(&v->python, "%s/bin/python", v->prefix) < 0) {
            v->python = NULL;
        }
    } else {
        v->python = base_python(program);
        if (!v->python) {
            buf_puts(error,
                     "no virtual environment is active, and " PYTHON_NAME " is neither beside cwsgi nor on PATH");
            goto fail;
        }
        v->prefix = prefix_of(v->python);
        v->home = strndup(v->python, (size_t)(strrchr(v->python, '/') - v->python));
    }
    if (!v->python || !v->prefix || !v->home || asprintf(&v->title, "%s/bin/cwsgi", v->prefix) < 0) {
        v->title = NULL;
        no_memory(error);
        goto fail;
    }
    if (access(v->python, X_OK) < 0) {
        buf_printf(error, "%s is not there or cannot be executed: %s", v->python,
                   found ? "the virtual environment is broken, make it anew" : "this cwsgi was built with it");
        goto fail;
    }
    return 0;

fail:
    venv_finish(v);
    return -1;
}

void venv_finish(struct venv *v)
{
    free(v->python);
    free(v->prefix);
    free(v->title);
    free(v->home);
    *v = (struct venv){0};
}

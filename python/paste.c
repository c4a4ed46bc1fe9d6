/* paste.c - an application that a PasteDeploy file describes. */
#include "python/paste.h"

#include <Python.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "python/pyerror.h"
#include "server/base/buf.h"
#include "server/config/settings.h"

/* Has the file a section [loggers]? 1, 0 or -errno. */
static int has_loggers(const char *path)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    int found = 0;

    if (!f) {
        return -errno;
    }
    while (!found && getline(&line, &size, f) >= 0) {
        found = strncmp(line, "[loggers]", 9) == 0;
    }
    int r = ferror(f) ? -EIO : found;
    free(line);
    fclose(f);
    return r;
}

int paste_settings(struct settings *s, struct buf *error)
{
    if (!s->paste) {
        return 0;
    }
    char *path = strndup(s->paste, strcspn(s->paste, "#"));
    int r = path ? has_loggers(path) : -ENOMEM;
    if (r < 0) {
        buf_printf(error, "Invalid value for paste: %s: %s", s->paste, strerror(-r));
        r = -1;
    } else if (r > 0) {
        r = settings_set(s, "logconfig", (const char *const *)&path, 1, SETTINGS_ENVIRONMENT, error);
    }
    free(path);
    return r;
}

/* "NAME=VALUE", where \= is an equals sign of the name or the value. 0, or -1 with an exception. */
static int add_global(PyObject *dict, const char *text)
{
    PyObject *parts[2] = {NULL, NULL};
    char *copy = strdup(text), *to = copy, *start = copy;
    int n = 0;

    if (!copy) {
        PyErr_NoMemory();
        return -1;
    }
    for (const char *p = text; *p; p++) {
        if (*p == '=' && n == 0) {
            parts[n++] = PyUnicode_DecodeFSDefaultAndSize(start, to - start);
            start = to;
            continue;
        }
        p += p[0] == '\\' && p[1] == '=';
        *to++ = *p;
    }
    parts[1] = n == 1 ? PyUnicode_DecodeFSDefaultAndSize(start, to - start) : NULL;
    if (n == 0) {
        PyErr_Format(PyExc_ValueError, "raw_paste_global_conf: '%s' must look like NAME=VALUE", text);
    }
    int r = parts[0] && parts[1] ? PyDict_SetItem(dict, parts[0], parts[1]) : -1;
    Py_XDECREF(parts[0]);
    Py_XDECREF(parts[1]);
    free(copy);
    return r;
}

static PyObject *globals_of(const struct settings *s)
{
    PyObject *dict = PyDict_New();

    for (size_t i = 0; dict && i < s->raw_paste_global_conf.n; i++) {
        if (add_global(dict, s->raw_paste_global_conf.v[i]) < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

enum load_result paste_load(const struct settings *s, PyObject **app)
{
    PyObject *globals = globals_of(s);
    PyObject *path = PyUnicode_DecodeFSDefault(s->paste);
    PyObject *module = globals ? PyImport_ImportModule("paste.deploy") : NULL;

    *app = NULL;
    if (globals && !module) {
        pyerror_log(LOG_LEVEL_ERROR, "A PasteDeploy file needs PasteDeploy: pip install PasteDeploy");
    } else if (module && path) {
        PyObject *loadapp = PyObject_GetAttrString(module, "loadapp");
        PyObject *args = Py_BuildValue("(N)", PyUnicode_FromFormat("config:%U", path));
        PyObject *keywords = Py_BuildValue("{sO}", "global_conf", globals);
        *app = loadapp && args && keywords ? PyObject_Call(loadapp, args, keywords) : NULL;
        Py_XDECREF(keywords);
        Py_XDECREF(args);
        Py_XDECREF(loadapp);
    }
    if (!*app && PyErr_Occurred()) {
        pyerror_log(LOG_LEVEL_ERROR, "The application of %s cannot be loaded", s->paste);
    }
    Py_XDECREF(module);
    Py_XDECREF(path);
    Py_XDECREF(globals);
    return *app ? LOAD_OK : LOAD_IMPORT_FAILED;
}

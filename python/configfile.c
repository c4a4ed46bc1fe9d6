/* configfile.c - runs the Python configuration file; its names go to the table of settings. */
#include "python/configfile.h"

#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "python/product.h"
#include "python/pyerror.h"
#include "server/base/buf.h"
#include "server/config/settings.h"

static const char *const default_files[] = {"./gunicorn.conf.py", "./cwsgi.conf.py"}; /* the later one overrides */

/* What is more than text, by name: hooks and dicts. A dict that is never freed: hooks are called until the very end.
 * NULL before the first one. */
static PyObject *objects;

/* "module.Class" of a class or function, a new reference. */
static PyObject *dotted_name(PyObject *value)
{
    PyObject *text = NULL;
    PyObject *module = PyObject_GetAttrString(value, "__module__");
    PyObject *name = PyObject_GetAttrString(value, "__qualname__");
    if (module && name) {
        text = PyUnicode_FromFormat("%S.%S", module, name);
    }
    Py_XDECREF(module);
    Py_XDECREF(name);
    return text;
}

/* A bool where text is wanted is a slip, unless the row has choices: "false" may be one. */
static bool takes_bool(const struct setting *row)
{
    return row->type == SETTING_BOOL || row->type == SETTING_BOOL_AUTO || row->type == SETTING_BOOL_OFF ||
           (row->allowed && strchr(row->allowed, '|'));
}

static bool takes_int(const struct setting *row, bool is_bool)
{
    switch (row->type) {
    case SETTING_INT:
    case SETTING_COUNT:
    case SETTING_SECONDS:
    case SETTING_OCTAL:
    case SETTING_SIZE:
    case SETTING_BOOL:
    case SETTING_BOOL_AUTO:
    case SETTING_BOOL_OFF:
        return true;
    case SETTING_USER:
    case SETTING_GROUP:
    case SETTING_STR:
        return !is_bool;
    default:
        return false;
    }
}

static bool is_line(PyObject *value)
{
    return PyUnicode_Check(value) && PyUnicode_FindChar(value, '\n', 0, PyUnicode_GET_LENGTH(value), 1) == -1;
}

/* A dict as lines of NAME=VALUE, a new reference; NULL with an exception when it is not one of texts. */
static PyObject *pairs_of(PyObject *dict)
{
    PyObject *text = PyUnicode_FromString("");
    PyObject *name, *value; /* borrowed */
    for (Py_ssize_t at = 0; text && PyDict_Next(dict, &at, &name, &value);) {
        if (!is_line(name) || !is_line(value)) {
            PyErr_SetString(PyExc_TypeError, "its names and values must be str, of one line each");
            Py_CLEAR(text);
        } else {
            PyUnicode_AppendAndDel(&text, PyUnicode_FromFormat("%U=%U\n", name, value));
        }
    }
    return text;
}

/* The value as the settings want it, a new reference to bytes; NULL with an exception when it is of no use. */
static PyObject *to_text(const struct setting *row, PyObject *value)
{
    PyObject *text = NULL;
    if (row->type == SETTING_PAIRS) {
        text = PyDict_Check(value) ? pairs_of(value) : NULL;
    } else if (PyUnicode_Check(value)) {
        Py_INCREF(value);
        text = value;
    } else if (PyBool_Check(value) && takes_bool(row)) {
        text = PyObject_Str(value);
    } else if (PyLong_Check(value) && takes_int(row, PyBool_Check(value))) {
        text = PyLong_Type.tp_repr(value); /* not str(): of an enum's member that may be its name */
    } else if (PyType_Check(value)) {
        text = dotted_name(value);
    }
    if (!text && !PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "%s cannot be used here", Py_TYPE(value)->tp_name);
    }
    if (!text) {
        return NULL;
    }
    PyObject *bytes = PyUnicode_EncodeFSDefault(text);
    Py_DECREF(text);
    if (bytes && strlen(PyBytes_AS_STRING(bytes)) != (size_t)PyBytes_GET_SIZE(bytes)) {
        PyErr_SetString(PyExc_ValueError, "it has a NUL character");
        Py_CLEAR(bytes);
    }
    return bytes;
}

/* From the exception that is set. */
static int invalid(const struct setting *row, PyObject *value, struct buf *error)
{
    char why[200];
    pyerror_text(why, sizeof(why));
    PyObject *repr = PyObject_Repr(value);
    const char *text = repr ? PyUnicode_AsUTF8(repr) : NULL;
    PyErr_Clear();
    buf_printf(error, "Invalid value for %s: %.500s: %s (from the configuration file)", row->name,
               text ? text : Py_TYPE(value)->tp_name, why);
    Py_XDECREF(repr);
    return -1;
}

static bool is_list(const struct setting *row, PyObject *value)
{
    return (row->type == SETTING_STRINGS || row->type == SETTING_CSV || row->type == SETTING_ADDRESSES) &&
           (PyList_Check(value) || PyTuple_Check(value));
}

static int set_list(struct settings *s, const struct setting *row, PyObject *value, struct buf *error)
{
    int r = -1;
    Py_ssize_t n = PySequence_Size(value);
    PyObject *texts = PyTuple_New(n); /* keeps alive what `values` points at */
    const char **values = PyMem_Calloc((size_t)n + 1, sizeof(*values));
    if (!texts || !values) {
        PyErr_NoMemory();
        invalid(row, value, error);
        goto done;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PySequence_GetItem(value, i);
        PyObject *text = item ? to_text(row, item) : NULL;
        Py_XDECREF(item);
        if (!text) {
            invalid(row, value, error);
            goto done;
        }
        PyTuple_SET_ITEM(texts, i, text);
        values[i] = PyBytes_AS_STRING(text);
    }
    r = settings_set(s, row->name, values, (size_t)n, SETTINGS_FILE, error);

done:
    PyMem_Free(values);
    Py_XDECREF(texts);
    return r;
}

static int set_one(struct settings *s, const struct setting *row, PyObject *value, struct buf *error)
{
    PyObject *bytes = to_text(row, value);
    if (!bytes) {
        return invalid(row, value, error);
    }
    const char *text = PyBytes_AS_STRING(bytes);
    int r = settings_set(s, row->name, &text, 1, SETTINGS_FILE, error);
    Py_DECREF(bytes);
    return r;
}

/* A hook is a function or the dotted name of one. A new reference, or NULL with an exception. */
static PyObject *find_function(PyObject *value)
{
    PyObject *function = NULL, *parts = NULL, *module = NULL;
    if (!PyUnicode_Check(value)) {
        Py_INCREF(value);
        function = value;
    } else {
        parts = PyObject_CallMethod(value, "rpartition", "s", ".");          /* ("module", ".", "name") */
        module = parts ? PyImport_Import(PyTuple_GET_ITEM(parts, 0)) : NULL; /* "a.b": gives b, not a */
        function = module ? PyObject_GetAttr(module, PyTuple_GET_ITEM(parts, 2)) : NULL;
    }
    if (function && !PyCallable_Check(function)) {
        PyErr_SetString(PyExc_TypeError, "it is not callable");
        Py_CLEAR(function);
    }
    Py_XDECREF(module);
    Py_XDECREF(parts);
    return function;
}

/* Can it be called with what the row says that it gets? Only of plain functions and methods is it known. False with an
 * exception when not. */
static bool fits(const struct setting *row, PyObject *function)
{
    char *rest;
    long least = strtol(row->allowed, &rest, 10), most = *rest ? strtol(rest + 2, NULL, 10) : least;
    int bound = PyMethod_Check(function) ? 1 : 0;
    PyObject *plain = bound ? PyMethod_GET_FUNCTION(function) : function;
    if (!PyFunction_Check(plain)) {
        return true;
    }
    const PyCodeObject *code = (PyCodeObject *)PyFunction_GET_CODE(plain);
    PyObject *defaults = PyFunction_GET_DEFAULTS(plain);
    long takes = code->co_argcount - bound;
    long needs = takes - (defaults ? PyTuple_GET_SIZE(defaults) : 0);
    if (needs <= most && (takes >= least || code->co_flags & CO_VARARGS)) {
        return true;
    }
    PyErr_Format(PyExc_TypeError, "it is called with %ld argument%s and takes %ld", most, most == 1 ? "" : "s", takes);
    return false;
}

/* "post_fork": what --print-config shows of a function. */
static PyObject *shown_name(PyObject *function)
{
    PyObject *name = PyObject_GetAttrString(function, "__qualname__");
    if (!name) {
        PyErr_Clear(); /* a partial or an object with __call__ has none */
        name = PyUnicode_FromString(Py_TYPE(function)->tp_name);
    }
    return name;
}

/* The object stays with us, the settings get its name or repr; `shown` is taken over and may be NULL with an exception.
 */
static int set_object(struct settings *s, const struct setting *row, PyObject *value, PyObject *shown,
                      struct buf *error)
{
    if (!objects) {
        objects = PyDict_New();
    }
    int r = shown && objects ? PyDict_SetItemString(objects, row->name, value) : -1;
    r = r < 0 ? invalid(row, value, error) : set_one(s, row, shown, error);
    Py_XDECREF(shown);
    return r;
}

static int set_hook(struct settings *s, const struct setting *row, PyObject *value, struct buf *error)
{
    PyObject *function = find_function(value);
    PyObject *name = function && fits(row, function) ? shown_name(function) : NULL;
    int r = set_object(s, row, function ? function : value, name, error);
    Py_XDECREF(function);
    return r;
}

PyObject *configfile_object(const char *name)
{
    return objects ? PyDict_GetItemString(objects, name) : NULL;
}

/* Every setting that `names` (a dict) has. */
static int apply(struct settings *s, PyObject *names, struct buf *error)
{
    const struct setting *table = settings_table();
    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        const struct setting *row = &table[i];
        PyObject *value = row->name ? PyDict_GetItemString(names, row->name) : NULL;
        if (!value) {
            continue;
        }
        Py_INCREF(value);
        int r;
        if (row->type == SETTING_HOOK) {
            r = set_hook(s, row, value, error);
        } else if (value == Py_None) {
            r = settings_set(s, row->name, NULL, 0, SETTINGS_FILE, error);
        } else if (row->type == SETTING_DICT && PyDict_Check(value)) {
            r = set_object(s, row, value, PyObject_Repr(value), error);
        } else if (is_list(row, value)) {
            r = set_list(s, row, value, error);
        } else {
            r = set_one(s, row, value, error);
        }
        Py_DECREF(value);
        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

/* 0 or -errno. */
static int read_file(const char *path, struct buf *source)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int r;
    ssize_t n = 0;
    do {
        r = buf_reserve(source, 16384);
        if (r == 0) {
            n = read(fd, source->data + source->len, 16384);
            r = n < 0 ? -errno : 0;
            source->len += n > 0 ? (size_t)n : 0;
        }
    } while (r == -EINTR || (r == 0 && n > 0));
    close(fd);
    return r;
}

/* os.path.abspath: tracebacks and __file__ must still be right after a chdir. A new reference. */
static PyObject *absolute_path(const char *path)
{
    PyObject *absolute = NULL;
    PyObject *name = PyUnicode_DecodeFSDefault(path);
    PyObject *os_path = PyImport_ImportModule("os.path");
    if (name && os_path) {
        absolute = PyObject_CallMethod(os_path, "abspath", "O", name);
    }
    Py_XDECREF(os_path);
    Py_XDECREF(name);
    return absolute;
}

/* The module __config__, as gunicorn names it, with what every module has; it is in sys.modules. A new reference. */
static PyObject *create_module(PyObject *path)
{
    PyObject *module = PyModule_New("__config__");
    if (!module) {
        return NULL;
    }
    PyObject *names = PyModule_GetDict(module);
    if (PyDict_SetItemString(names, "__file__", path) < 0 ||
        PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) < 0 ||
        PyDict_SetItemString(PyImport_GetModuleDict(), "__config__", module) < 0) {
        Py_CLEAR(module);
    }
    return module;
}

/* Runs the file and returns its module, or NULL with an exception. Not by way of importlib: that would keep compiled
 * code in __pycache__, and could take an edit within the same second for no edit. */
static PyObject *run_source(const char *path, struct buf *source)
{
    PyObject *module = NULL, *code = NULL, *result = NULL;
    PyObject *absolute = absolute_path(path);
    const char *text = buf_cstr(source);
    if (!text) {
        PyErr_NoMemory();
    }
    if (!absolute || !text) {
        goto done;
    }
    if (strlen(text) != source->len) {
        PyErr_SetString(PyExc_SyntaxError, "the file has NUL characters");
        goto done;
    }
    PyObject *name = PyUnicode_EncodeFSDefault(absolute);
    code = name ? Py_CompileString(text, PyBytes_AS_STRING(name), Py_file_input) : NULL;
    Py_XDECREF(name);
    module = code ? create_module(absolute) : NULL;
    result = module ? PyEval_EvalCode(code, PyModule_GetDict(module), PyModule_GetDict(module)) : NULL;
    if (!result) {
        Py_CLEAR(module);
    }

done:
    Py_XDECREF(result);
    Py_XDECREF(code);
    Py_XDECREF(absolute);
    return module;
}

/* Takes over `module`; NULL: it raised. */
static int finish(struct settings *s, const char *where, PyObject *module, struct buf *error)
{
    if (!module) {
        bool needs_gunicorn = product_is_missed();
        pyerror_log(LOG_LEVEL_ERROR, "Exception in config file %s", where);
        buf_printf(error, "Failed to read config file: %s%s", where,
                   needs_gunicorn ? ": it imports gunicorn, which must be installed beside cwsgi for that" : "");
        return -1;
    }
    int r = apply(s, PyModule_GetDict(module), error);
    Py_DECREF(module);
    return r;
}

static int run_file(struct settings *s, const char *path, struct buf *error)
{
    struct buf source = {0};
    int r = read_file(path, &source);
    if (r == -ENOENT) {
        buf_printf(error, "'%s' doesn't exist", path);
        r = -1;
    } else if (r < 0) {
        buf_printf(error, "Failed to read config file: %s: %s", path, strerror(-r));
        r = -1;
    } else {
        r = finish(s, path, run_source(path, &source), error);
    }
    buf_finish(&source);
    return r;
}

static int run_default_files(struct settings *s, struct buf *error)
{
    for (size_t i = 0; i < sizeof(default_files) / sizeof(default_files[0]); i++) {
        if (access(default_files[i], F_OK) == 0 && run_file(s, default_files[i], error) < 0) {
            return -1;
        }
    }
    return 0;
}

int configfile_run(struct settings *s, const char *where, struct buf *error)
{
    if (!where) {
        return run_default_files(s, error);
    }
    if (strncmp(where, "python:", strlen("python:")) == 0) {
        return finish(s, where, PyImport_ImportModule(where + strlen("python:")), error);
    }
    if (strncmp(where, "file:", strlen("file:")) == 0) {
        where += strlen("file:");
    }
    return run_file(s, where, error);
}

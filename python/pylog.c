/* pylog.c - the server log, and a record of each request, by way of Python's logging. */
#include "python/pylog.h"

#include <Python.h>
#include <stdlib.h>
#include <string.h>

#include "python/logconfig.h"
#include "python/product.h"
#include "python/pyerror.h"
#include "python/pyhooks.h"
#include "server/base/buf.h"
#include "server/config/settings.h"

#define MODULE "_cwsgi_logconfig"

/* gunicorn's own loggers: what they do is done by C. */
static const char *const plain_classes[] = {"gunicorn.glogging.Logger", "simple", "gunicorn.instrument.statsd.Statsd"};

static bool has_own_class(const struct settings *s)
{
    for (size_t i = 0; i < sizeof(plain_classes) / sizeof(plain_classes[0]); i++) {
        if (strcmp(s->logger_class, plain_classes[i]) == 0) {
            return false;
        }
    }
    return *s->logger_class != '\0';
}

static bool is_given(const char *text)
{
    return text && *text;
}

bool pylog_wanted(const struct settings *s)
{
    return has_own_class(s) || is_given(s->logconfig) || is_given(s->logconfig_json) ||
           strcmp(s->logconfig_dict, "{}") != 0;
}

/* Calls a function of the module with `args`, which it takes over. 0, or -1: it raised, which is told on stderr, since
 * the log is what does not work. */
static int call(const char *name, PyObject *args)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), MODULE); /* borrowed */
    PyObject *function = module && args ? PyObject_GetAttrString(module, name) : NULL;
    PyObject *result = function ? PyObject_CallObject(function, args) : NULL;
    int r = result ? 0 : -1;

    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(function);
    }
    Py_XDECREF(result);
    Py_XDECREF(function);
    Py_XDECREF(args);
    return r;
}

/* The same with what `format` says; an exception that is set stays. */
static int with_exception_kept(const char *name, const char *format, ...)
{
    PyObject *type, *value, *tb;
    va_list values;

    PyErr_Fetch(&type, &value, &tb);
    va_start(values, format);
    int r = call(name, Py_VaBuildValue(format, values));
    va_end(values);
    PyErr_Restore(type, value, tb);
    return r;
}

static PyObject *decode(const char *text, size_t len)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)len, "backslashreplace");
}

/* struct log_writer: any thread */

static int record(struct log_writer *w, enum log_level level, const char *text, size_t len)
{
    (void)w;
    PyGILState_STATE state = PyGILState_Ensure();
    int r = with_exception_kept("record", "(iN)", 10 * ((int)level + 1), decode(text, len));

    PyGILState_Release(state);
    return r;
}

static void access_line(struct log_writer *w, const char *line, size_t len)
{
    (void)w;
    PyGILState_STATE state = PyGILState_Ensure();

    with_exception_kept("refused", "(N)", decode(line, len));
    PyGILState_Release(state);
}

static void reopen(struct log_writer *w)
{
    (void)w;
    PyGILState_STATE state = PyGILState_Ensure();

    with_exception_kept("reopen", "()");
    PyGILState_Release(state);
}

static struct log_writer writer = {.record = record, .access = access_line, .reopen = reopen};

/* Life */

/* "The sentence of the exception that is set": what to do about it, where that is known. */
static int refuse(const struct settings *s, struct buf *error)
{
    char text[500];
    bool needs_gunicorn = product_is_missed();

    pyerror_text(text, sizeof(text));
    if (has_own_class(s)) {
        buf_printf(error, "Invalid value for logger_class: %s: %s", s->logger_class, text);
    } else {
        buf_printf(error, "Python's logging cannot be configured: %s", text);
    }
    if (needs_gunicorn) {
        buf_puts(error, "; a class that derives from gunicorn's needs gunicorn to be installed, too");
    }
    return -1;
}

static char *format_of_module(void)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), MODULE);
    PyObject *format = module ? PyObject_GetAttrString(module, "REFUSED_FORMAT") : NULL;
    const char *text = format ? PyUnicode_AsUTF8(format) : NULL;
    char *copy = text ? strdup(text) : NULL;

    Py_XDECREF(format);
    return copy;
}

/* `which`: as make() in logconfig.py takes it. 0, or -1 with an exception. */
static int make(const char *which, bool divert)
{
    long level = -1;

    if (pyhooks_make_module(MODULE, logconfig_source, PyDict_New()) == 0) {
        PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), MODULE);
        PyObject *r = PyObject_CallMethod(module, "make", "z", which);
        level = r ? PyLong_AsLong(r) : -1;
        Py_XDECREF(r);
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    if (divert) {
        free(writer.access_format);
        writer.access_format = format_of_module();
        if (!writer.access_format) {
            PyErr_NoMemory();
            return -1;
        }
        writer.level = level <= 10   ? LOG_LEVEL_DEBUG
                       : level >= 50 ? LOG_LEVEL_CRITICAL
                                     : (enum log_level)((level - 1) / 10);
        log_divert(&writer);
    }
    return 0;
}

int pylog_start(const struct settings *s, bool divert, struct buf *error)
{
    if (!pylog_wanted(s)) {
        return 0;
    }
    return make(has_own_class(s) ? s->logger_class : NULL, divert) < 0 ? refuse(s, error) : 0;
}

void pylog_adopt(const struct settings *s)
{
    if (pylog_on() || !pyhooks_loggers_touched()) {
        return;
    }
    if (pyhooks_need_standins(s) < 0 || make("", true) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "The records of the server do not go through Python's logging");
        return;
    }
    log_to_syslog(NULL); /* Python's logging has its own */
}

void pylog_stop(void)
{
    if (pylog_on()) {
        log_divert(NULL);
        free(writer.access_format);
        writer.access_format = NULL;
    }
}

bool pylog_on(void)
{
    return log_writer() == &writer;
}

/* With the interpreter held */

int pylog_exception(enum log_level level, const char *title, PyObject *value)
{
    if (!pylog_on() || !value || !log_enabled(level)) {
        return -1;
    }
    return with_exception_kept("exception", "(iNO)", 10 * ((int)level + 1), decode(title, strlen(title)), value);
}

void pylog_access(PyObject *args, unsigned long long took_us)
{
    PyObject *took = args ? Py_BuildValue("(K)", took_us) : NULL;

    call("access", took ? PySequence_Concat(args, took) : NULL);
    Py_XDECREF(took);
}

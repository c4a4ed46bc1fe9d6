/* pyerror.c - a Python exception as a log line and an errno. */
#include "python/pyerror.h"

#include <Python.h>
#include <stdarg.h>
#include <stdio.h>

#include "python/pylog.h"
#include "server/base/buf.h"

/* The traceback as one str, or NULL with nothing set: formatting runs Python code, which may fail in its own ways
 * (memory, recursion, a module that is gone at the end of the process). */
static PyObject *format_traceback(PyObject *type, PyObject *value, PyObject *tb)
{
    PyObject *text = NULL;
    PyObject *lines = NULL;
    PyObject *module = PyImport_ImportModule("traceback");

    if (module) {
        lines =
            PyObject_CallMethod(module, "format_exception", "OOO", type, value ? value : Py_None, tb ? tb : Py_None);
    }
    if (lines) {
        PyObject *nothing = PyUnicode_FromStringAndSize(NULL, 0);
        if (nothing) {
            text = PyUnicode_Join(nothing, lines);
            Py_DECREF(nothing);
        }
    }
    PyErr_Clear();
    Py_XDECREF(lines);
    Py_XDECREF(module);
    return text;
}

/* UTF-8 of a str, whatever is in it; NULL with nothing set when it cannot be made. */
static PyObject *encode(PyObject *text)
{
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");

    PyErr_Clear();
    return bytes;
}

static const char *type_name(PyObject *type)
{
    return type && PyType_Check(type) ? ((PyTypeObject *)type)->tp_name : "unknown error";
}

static void fetch(PyObject **type, PyObject **value, PyObject **tb)
{
    PyErr_Fetch(type, value, tb);
    PyErr_NormalizeException(type, value, tb);
    if (*tb && *value) {
        PyException_SetTraceback(*value, *tb);
    }
    PyErr_Clear();
}

void pyerror_log(enum log_level level, const char *title_format, ...)
{
    PyObject *type, *value, *tb;
    PyObject *bytes = NULL;
    struct buf line = {0};
    char title[1024];
    va_list args;

    va_start(args, title_format);
    vsnprintf(title, sizeof(title), title_format, args);
    va_end(args);

    fetch(&type, &value, &tb);
    bool told = pylog_exception(level, title, value) == 0;
    PyObject *text = told ? NULL : format_traceback(type, value, tb);
    if (text) {
        bytes = encode(text);
    }

    if (bytes) {
        size_t len = (size_t)PyBytes_GET_SIZE(bytes);
        while (len > 0 && PyBytes_AS_STRING(bytes)[len - 1] == '\n') {
            len--;
        }
        if (buf_puts(&line, title) == 0 && buf_puts(&line, "\n") == 0 &&
            buf_append(&line, PyBytes_AS_STRING(bytes), len) == 0) {
            log_exception(level, line.data, line.len);
        } else {
            log_line(level, "%s", title);
        }
    } else if (!told) {
        log_line(level, "%s: %s (its traceback could not be made)", title, type_name(type));
    }

    buf_finish(&line);
    Py_XDECREF(bytes);
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(tb);
}

void pyerror_text(char *out, unsigned long size)
{
    PyObject *type, *value, *tb;
    PyObject *text = NULL;
    PyObject *bytes = NULL;

    fetch(&type, &value, &tb);
    if (value) {
        text = PyObject_Str(value);
        PyErr_Clear();
    }
    if (text) {
        bytes = encode(text);
    }
    if (bytes && PyBytes_GET_SIZE(bytes) > 0) {
        snprintf(out, size, "%s: %s", type_name(type), PyBytes_AS_STRING(bytes));
    } else {
        snprintf(out, size, "%s", type_name(type));
    }

    Py_XDECREF(bytes);
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(tb);
}

int pyerror_exit_status(void)
{
    PyObject *type, *value, *tb;

    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    PyObject *code = value ? PyObject_GetAttrString(value, "code") : NULL;
    int status = 1;
    if (code == Py_None) {
        status = 0;
    } else if (code && PyLong_Check(code)) {
        status = (int)(PyLong_AsLong(code) & 0xff);
    } else if (code) {
        PySys_FormatStderr("%S\n", code);
    }
    PyErr_Clear();
    Py_XDECREF(code);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(tb);
    return status;
}

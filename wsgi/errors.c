/* errors.c - wsgi.errors: a file object whose lines go to the error log. */
#include "wsgi/errors.h"

#include <string.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "wsgi/module.h"

#define PARTIAL_MAX 65536 /* a line without an end may not grow for ever */

struct errors {
    PyObject_HEAD struct buf partial; /* a line that has not ended yet */
};

static struct errors *self_of(PyObject *object)
{
    return (struct errors *)object;
}

PyObject *errors_new(const struct module_state *s)
{
    return s->errors->tp_alloc(s->errors, 0);
}

/* Writes the first `len` bytes out. The buffer is taken away meanwhile: others may write while we wait. */
static void put_out(struct errors *e, size_t len)
{
    struct buf mine = e->partial;

    e->partial = (struct buf){0};
    if (mine.len > len && buf_append(&e->partial, mine.data + len, mine.len - len) < 0) {
        len = mine.len; /* no memory to keep the rest: out with it */
    }
    Py_BEGIN_ALLOW_THREADS;
    log_foreign(mine.data, len);
    Py_END_ALLOW_THREADS;
    if (!e->partial.data) {
        mine.len = 0;
        e->partial = mine;
    } else {
        buf_finish(&mine);
    }
}

static int append(struct errors *e, PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "wsgi.errors takes str, not %.100s", Py_TYPE(text)->tp_name);
        return -1;
    }
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (!bytes) {
        return -1;
    }
    int r = buf_append(&e->partial, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    if (r < 0) {
        PyErr_NoMemory();
        return -1;
    }

    const char *end = e->partial.len > 0 ? memrchr(e->partial.data, '\n', e->partial.len) : NULL;
    if (end) {
        put_out(e, (size_t)(end - e->partial.data) + 1);
    } else if (e->partial.len > PARTIAL_MAX) {
        put_out(e, e->partial.len);
    }
    return 0;
}

static PyObject *method_write(PyObject *object, PyObject *text)
{
    int r;

    Py_BEGIN_CRITICAL_SECTION(object);
    r = append(self_of(object), text);
    Py_END_CRITICAL_SECTION();
    return r < 0 ? NULL : PyLong_FromSsize_t(PyUnicode_GET_LENGTH(text));
}

static PyObject *method_writelines(PyObject *object, PyObject *lines)
{
    PyObject *line;
    PyObject *iterator = PyObject_GetIter(lines);

    if (!iterator) {
        return NULL;
    }
    while ((line = PyIter_Next(iterator))) {
        PyObject *r = method_write(object, line);
        Py_DECREF(line);
        if (!r) {
            break;
        }
        Py_DECREF(r);
    }
    Py_DECREF(iterator);
    if (PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *method_flush(PyObject *object, PyObject *unused)
{
    struct errors *e = self_of(object);

    (void)unused;
    Py_BEGIN_CRITICAL_SECTION(object);
    if (e->partial.len > 0) {
        put_out(e, e->partial.len);
    }
    Py_END_CRITICAL_SECTION();
    Py_RETURN_NONE;
}

static void dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    struct errors *e = self_of(object);

    if (e->partial.len > 0) {
        log_foreign(e->partial.data, e->partial.len);
    }
    buf_finish(&e->partial);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"write", method_write, METH_O, NULL},
    {"writelines", method_writelines, METH_O, NULL},
    {"flush", method_flush, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, MODULE_FUNCTION(dealloc)},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec errors_spec = {
    .name = "_cwsgi.Errors",
    .basicsize = sizeof(struct errors),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

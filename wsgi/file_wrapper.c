/* file_wrapper.c - wsgi.file_wrapper: an iterable, or a file that the response can send. */
#include "wsgi/file_wrapper.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <structmember.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/net/chunk.h"
#include "wsgi/module.h"

struct file_wrapper {
    PyObject_HEAD PyObject *filelike; /* owned */
    PyObject *size;                   /* owned: int, what read is called with */
};

static struct file_wrapper *self_of(PyObject *object)
{
    return (struct file_wrapper *)object;
}

/* As a file */

static bool is_io(PyObject *io, PyObject *object, const char *class_name)
{
    PyObject *class = PyObject_GetAttrString(io, class_name);
    int r = class ? PyObject_IsInstance(object, class) : -1;

    Py_XDECREF(class);
    PyErr_Clear();
    return r == 1;
}

static bool is_exactly(PyObject *io, PyObject *object, const char *class_name)
{
    PyObject *class = PyObject_GetAttrString(io, class_name);
    bool yes = class == (PyObject *)Py_TYPE(object);

    Py_XDECREF(class);
    PyErr_Clear();
    return yes;
}

/* False for what has a descriptor but may give out other bytes than lie in the file: GzipFile and its kin, text files,
 * classes that were derived from io's. They all are of io's kind, but neither raw files nor buffers over such. */
static bool gives_its_bytes(PyObject *filelike)
{
    bool yes = false;
    PyObject *io = PyImport_ImportModule("io");

    if (!io) {
        PyErr_Clear();
        return false;
    }
    if (is_exactly(io, filelike, "BufferedReader") || is_exactly(io, filelike, "BufferedRandom")) {
        PyObject *raw = PyObject_GetAttrString(filelike, "raw");
        PyErr_Clear();
        yes = raw && is_exactly(io, raw, "FileIO");
        Py_XDECREF(raw);
    } else {
        yes = is_exactly(io, filelike, "FileIO") || !is_io(io, filelike, "IOBase");
    }
    Py_DECREF(io);
    return yes;
}

/* A method's result as a number; -1 when there is none. */
static long long ask(PyObject *object, const char *method)
{
    PyObject *r = PyObject_CallMethod(object, method, NULL);
    long long n = r && PyLong_Check(r) ? PyLong_AsLongLong(r) : -1;

    PyErr_Clear();
    Py_XDECREF(r);
    return n;
}

static void on_release(void *owner)
{
    close((int)(intptr_t)owner);
}

int file_wrapper_chunk(PyObject *wrapper, struct chunk *out)
{
    PyObject *filelike = self_of(wrapper)->filelike;
    struct stat st;

    if (!filelike || !gives_its_bytes(filelike)) {
        return 0;
    }
    long long fd = ask(filelike, "fileno");
    if (fd < 0 || fd > INT32_MAX || fstat((int)fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return 0;
    }
    long long offset = ask(filelike, "tell"); /* not lseek: a buffer may have read ahead */
    if (offset < 0 || offset >= st.st_size) {
        return 0; /* nothing, or a file of the kernel's, whose size says nothing */
    }
    int own = fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0) {
        return 0;
    }
    *out = (struct chunk){
        .len = (size_t)(st.st_size - offset),
        .fd = own,
        .offset = (off_t)offset,
        .release = on_release,
        .owner = (void *)(intptr_t)own, /* NOLINT(performance-no-int-to-ptr): the descriptor is all there is to own */
    };
    return 1;
}

/* As an iterable */

static PyObject *new (PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    char first[] = "filelike", second[] = "blksize"; /* the API has no const here */
    char *names[] = {first, second, NULL};
    PyObject *filelike;
    Py_ssize_t size = 8192;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|n:FileWrapper", names, &filelike, &size)) {
        return NULL;
    }
    PyObject *object = type->tp_alloc(type, 0);
    if (!object) {
        return NULL;
    }
    Py_INCREF(filelike);
    self_of(object)->filelike = filelike;
    self_of(object)->size = PyLong_FromSsize_t(size);
    if (!self_of(object)->size) {
        Py_CLEAR(object);
    }
    return object;
}

static PyObject *iter(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

static PyObject *iternext(PyObject *object)
{
    PyObject *data = PyObject_CallMethod(self_of(object)->filelike, "read", "O", self_of(object)->size);

    if (data) {
        int more = PyObject_IsTrue(data);
        if (more <= 0) {
            Py_CLEAR(data); /* the end, or an exception */
        }
    }
    return data;
}

static PyObject *method_close(PyObject *object, PyObject *unused)
{
    PyObject *close_method = PyObject_GetAttrString(self_of(object)->filelike, "close");

    (void)unused;
    if (!close_method) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return NULL;
        }
        PyErr_Clear();
        Py_RETURN_NONE; /* a file-like object need not have it */
    }
    PyObject *r = PyObject_CallNoArgs(close_method);
    Py_DECREF(close_method);
    return r;
}

/* No tp_clear: every cycle through us also goes through the file-like object, which can break it. */
static int traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self_of(object)->filelike);
    return 0;
}

static void dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);

    PyObject_GC_UnTrack(object);
    Py_XDECREF(self_of(object)->filelike);
    Py_XDECREF(self_of(object)->size);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"close", method_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef members[] = {
    {"filelike", T_OBJECT_EX, offsetof(struct file_wrapper, filelike), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, MODULE_FUNCTION(new)},
    {Py_tp_dealloc, MODULE_FUNCTION(dealloc)},
    {Py_tp_traverse, MODULE_FUNCTION(traverse)},
    {Py_tp_iter, MODULE_FUNCTION(iter)},
    {Py_tp_iternext, MODULE_FUNCTION(iternext)},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {0, NULL},
};

PyType_Spec file_wrapper_spec = {
    .name = "_cwsgi.FileWrapper",
    .basicsize = sizeof(struct file_wrapper),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

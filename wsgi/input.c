/* input.c - wsgi.input: a file object over a request's body. */
#include "wsgi/input.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "server/http/body.h"
#include "wsgi/module.h"

#define WINDOW 16384 /* how much of a body in a file is looked at in one go for line ends */

/* No Python objects inside, hence no business of the garbage collector. Positional reads leave the body as it is. */
struct input {
    PyObject_HEAD const struct body *body; /* borrowed; NULL when empty */
    const char *view;                      /* borrowed: its bytes, when they are in memory */
    uint64_t len, pos;
    char *window; /* owned: made when lines are asked of a file */
    uint64_t window_at;
    size_t window_len;
    bool open; /* between input_begin and input_end */
};

static struct input *self_of(PyObject *object)
{
    return (struct input *)object;
}

PyObject *input_new(const struct module_state *s)
{
    return s->input->tp_alloc(s->input, 0);
}

void input_begin(PyObject *object, const struct body *body)
{
    struct input *in = self_of(object);

    in->body = body;
    in->len = body_len(body);
    in->view = body ? body_view(body) : NULL;
    in->pos = 0;
    in->window_len = 0;
    in->open = true;
}

static void forget(struct input *in)
{
    in->open = false;
    in->body = NULL;
    in->view = NULL;
    in->len = in->pos = 0;
    PyMem_Free(in->window);
    in->window = NULL;
}

void input_end(PyObject *object)
{
    Py_BEGIN_CRITICAL_SECTION(object);
    forget(self_of(object));
    Py_END_CRITICAL_SECTION();
}

static void dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);

    PyMem_Free(self_of(object)->window);
    type->tp_free(object);
    Py_DECREF(type);
}

static int raise_read_error(ssize_t r)
{
    if (r < 0) {
        errno = (int)-r;
        PyErr_SetFromErrno(PyExc_OSError);
    } else {
        PyErr_SetString(PyExc_OSError, "the request's body ends too early");
    }
    return -1;
}

static int fill(const struct input *in, char *dst, uint64_t at, size_t len)
{
    while (len > 0) {
        ssize_t r = body_pread(in->body, at, dst, len);
        if (r <= 0) {
            return raise_read_error(r);
        }
        dst += r;
        at += (uint64_t)r;
        len -= (size_t)r;
    }
    return 0;
}

/* The next `len` bytes, which are there. */
static PyObject *take(struct input *in, size_t len)
{
    PyObject *bytes = PyBytes_FromStringAndSize(in->view ? in->view + in->pos : NULL, (Py_ssize_t)len);

    if (bytes && !in->view && fill(in, PyBytes_AS_STRING(bytes), in->pos, len) < 0) {
        Py_CLEAR(bytes);
    }
    if (bytes) {
        in->pos += len;
    }
    return bytes;
}

/* How many bytes may be read: `size` < 0 means all. -1 with an exception when the request is over. */
static Py_ssize_t available(const struct input *in, Py_ssize_t size)
{
    if (!in->open) {
        PyErr_SetString(PyExc_ValueError, "I/O on a request that has ended");
        return -1;
    }
    uint64_t left = in->len - in->pos;
    if (size >= 0 && (uint64_t)size < left) {
        return size;
    }
    if (left > PY_SSIZE_T_MAX) {
        PyErr_NoMemory();
        return -1;
    }
    return (Py_ssize_t)left;
}

static int look(struct input *in, uint64_t at)
{
    if (!in->window) {
        in->window = PyMem_Malloc(WINDOW);
        if (!in->window) {
            PyErr_NoMemory();
            return -1;
        }
    }
    in->window_len = 0;
    ssize_t r = body_pread(in->body, at, in->window, WINDOW);
    if (r <= 0) {
        return raise_read_error(r);
    }
    in->window_at = at;
    in->window_len = (size_t)r;
    return 0;
}

/* Length of the line that starts at pos, its end included, `max` at most; -1 with an exception. */
static Py_ssize_t line_in_file(struct input *in, size_t max)
{
    size_t seen = 0;

    while (seen < max) {
        uint64_t at = in->pos + seen;
        if (at < in->window_at || at >= in->window_at + in->window_len) {
            if (look(in, at) < 0) {
                return -1;
            }
        }
        size_t skip = (size_t)(at - in->window_at);
        size_t n = in->window_len - skip < max - seen ? in->window_len - skip : max - seen;
        const char *end = memchr(in->window + skip, '\n', n);
        if (end) {
            return (Py_ssize_t)(seen + (size_t)(end - (in->window + skip)) + 1);
        }
        seen += n;
    }
    return (Py_ssize_t)max;
}

static PyObject *read_bytes(struct input *in, Py_ssize_t size)
{
    Py_ssize_t n = available(in, size);

    return n < 0 ? NULL : take(in, (size_t)n);
}

static PyObject *read_line(struct input *in, Py_ssize_t size)
{
    Py_ssize_t max = available(in, size);

    if (max <= 0) {
        return max < 0 ? NULL : PyBytes_FromStringAndSize(NULL, 0);
    }
    if (in->view) {
        const char *start = in->view + in->pos;
        const char *end = memchr(start, '\n', (size_t)max);
        return take(in, end ? (size_t)(end - start) + 1 : (size_t)max);
    }

    Py_ssize_t n = line_in_file(in, (size_t)max);
    if (n < 0) {
        return NULL;
    }
    if (in->pos >= in->window_at && in->pos + (uint64_t)n <= in->window_at + in->window_len) {
        PyObject *line = PyBytes_FromStringAndSize(in->window + (in->pos - in->window_at), n);
        if (line) {
            in->pos += (uint64_t)n;
        }
        return line;
    }
    return take(in, (size_t)n);
}

static PyObject *read_lines(struct input *in, Py_ssize_t hint)
{
    Py_ssize_t total = 0;
    PyObject *list = PyList_New(0);

    while (list && (hint <= 0 || total < hint)) {
        PyObject *line = read_line(in, -1);
        if (!line) {
            Py_CLEAR(list);
            break;
        }
        Py_ssize_t n = PyBytes_GET_SIZE(line);
        int r = n > 0 ? PyList_Append(list, line) : 0;
        Py_DECREF(line);
        if (r < 0) {
            Py_CLEAR(list);
        }
        if (n == 0) {
            break;
        }
        total += n;
    }
    return list;
}

/* Methods */

/* read(), read(None) and read(-1) want all. */
static int size_argument(PyObject *const *args, Py_ssize_t n, const char *method, Py_ssize_t *size)
{
    *size = -1;
    if (n > 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most 1 argument (%zd given)", method, n);
        return -1;
    }
    if (n == 1 && args[0] != Py_None) {
        *size = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
        if (*size == -1 && PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

static PyObject *locked(PyObject *object, PyObject *(*method)(struct input *, Py_ssize_t), Py_ssize_t size)
{
    PyObject *r;

    Py_BEGIN_CRITICAL_SECTION(object);
    r = method(self_of(object), size);
    Py_END_CRITICAL_SECTION();
    return r;
}

static PyObject *method_read(PyObject *object, PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t size;

    return size_argument(args, n, "read", &size) < 0 ? NULL : locked(object, read_bytes, size);
}

static PyObject *method_readline(PyObject *object, PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t size;

    return size_argument(args, n, "readline", &size) < 0 ? NULL : locked(object, read_line, size);
}

static PyObject *method_readlines(PyObject *object, PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t hint;

    return size_argument(args, n, "readlines", &hint) < 0 ? NULL : locked(object, read_lines, hint);
}

static PyObject *method_readable(PyObject *object, PyObject *unused)
{
    (void)object, (void)unused;
    Py_RETURN_TRUE;
}

static PyObject *method_close(PyObject *object, PyObject *unused)
{
    (void)object, (void)unused; /* the server's stream: PEP 3333 does not let applications close it */
    Py_RETURN_NONE;
}

static PyObject *iter(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

static PyObject *iternext(PyObject *object)
{
    PyObject *line = locked(object, read_line, -1);

    if (line && PyBytes_GET_SIZE(line) == 0) {
        Py_CLEAR(line);
    }
    return line;
}

static PyMethodDef methods[] = {
    {"read", (PyCFunction)(void (*)(void))method_read, METH_FASTCALL, NULL},
    {"readline", (PyCFunction)(void (*)(void))method_readline, METH_FASTCALL, NULL},
    {"readlines", (PyCFunction)(void (*)(void))method_readlines, METH_FASTCALL, NULL},
    {"readable", method_readable, METH_NOARGS, NULL},
    {"close", method_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, MODULE_FUNCTION(dealloc)},
    {Py_tp_iter, MODULE_FUNCTION(iter)},
    {Py_tp_iternext, MODULE_FUNCTION(iternext)},
    {Py_tp_methods, methods},
    {0, NULL},
};

PyType_Spec input_spec = {
    .name = "_cwsgi.Input",
    .basicsize = sizeof(struct input),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

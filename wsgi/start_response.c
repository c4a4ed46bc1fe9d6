/* start_response.c - start_response and write, into a response. */
#include "wsgi/start_response.h"

#include <stddef.h>
#include <structmember.h>

#include "python/forks.h"
#include "server/base/log.h"
#include "server/http/exchange.h"
#include "wsgi/lend.h"
#include "wsgi/module.h"

/* All types look alike: a callable that knows its request, or none. */
struct callable {
    PyObject_HEAD vectorcallfunc call;
    struct start_response *s; /* borrowed; NULL when the request has ended */
};

static struct start_response *request_of(PyObject *object)
{
    struct start_response *s = ((struct callable *)object)->s;

    if (!s) {
        PyErr_SetString(PyExc_ValueError, "the request has ended");
        return NULL;
    }
    /* While the application's thread waits for its client, the loop has the response: nobody else may touch it. */
    if (!pthread_equal(s->thread, pthread_self())) {
        PyErr_SetString(PyExc_RuntimeError,
                        "start_response, write and wsgi.early_hints are for the thread in which the application was "
                        "called");
        return NULL;
    }
    return s;
}

/* The same, for what takes one argument, by position. */
static struct start_response *request_of_one(PyObject *object, size_t nargsf, PyObject *kwnames, const char *name)
{
    struct start_response *s = request_of(object);

    if (s && (PyVectorcall_NARGS(nargsf) != 1 || (kwnames && PyTuple_GET_SIZE(kwnames) > 0))) {
        PyErr_Format(PyExc_TypeError, "%s takes 1 argument", name);
        return NULL;
    }
    return s;
}

/* Status and headers */

/* The latin-1 bytes of a str, borrowed from it. `header`: whose value it is; NULL for anything else. */
static int latin1(PyObject *text, const char *what, PyObject *header, struct str *out)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "start_response: %s%s%V must be str, not %.100s: %R", what, header ? " " : "",
                     header, "", Py_TYPE(text)->tp_name, text);
        return -1;
    }
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_READY(text) < 0) {
        return -1;
    }
#endif
    if (PyUnicode_KIND(text) != PyUnicode_1BYTE_KIND) {
        PyErr_Format(PyExc_ValueError, "start_response: %s%s%V has characters outside latin-1: %R", what,
                     header ? " " : "", header, "", text);
        return -1;
    }
    *out = (struct str){(const char *)PyUnicode_1BYTE_DATA(text), (size_t)PyUnicode_GET_LENGTH(text)};
    return 0;
}

static int raise_response_error(enum response_error e, PyObject *name, PyObject *value)
{
    switch (e) {
    case RESPONSE_OK:
    case RESPONSE_OURS:
    case RESPONSE_HOP_BY_HOP:
        return 0;
    case RESPONSE_BAD_STATUS:
        PyErr_Format(PyExc_ValueError, "start_response: the status must read like '200 OK', not %R", value);
        break;
    case RESPONSE_BAD_NAME:
        PyErr_Format(PyExc_ValueError, "start_response: %R is not a header name", name);
        break;
    case RESPONSE_BAD_VALUE:
        PyErr_Format(PyExc_ValueError, "start_response: the value of header %R has control characters: %R", name,
                     value);
        break;
    case RESPONSE_BAD_LENGTH:
        PyErr_Format(PyExc_ValueError, "start_response: the value of header %R is not one length: %R", name, value);
        break;
    case RESPONSE_NO_MEMORY:
        PyErr_NoMemory();
        break;
    }
    return -1;
}

/* PEP 3333 forbids these to applications. They are left out, as gunicorn does it; but not without a word. */
static void tell_hop_by_hop(struct start_response *s, struct str name)
{
    bool *told = &s->shared->told[header_lookup(name)];
    const struct request *r = &s->x->request;

    if (!*told) {
        *told = true;
        log_warning(
            "The header %.*s in the answer to %.*s %.*s is left out: it is the server's own (PEP 3333); told once",
            (int)name.len, name.p, (int)r->method.len, r->method.p, (int)r->target.len, r->target.p);
    }
}

/* A pair's two objects, borrowed from it, and their text, borrowed from them. */
static int read_field(PyObject *pair, PyObject *const **items, struct field *out)
{
    if (PyTuple_Check(pair) && PyTuple_GET_SIZE(pair) == 2) {
        *items = &PyTuple_GET_ITEM(pair, 0);
    } else if (PyList_Check(pair) && PyList_GET_SIZE(pair) == 2) {
        *items = &PyList_GET_ITEM(pair, 0); /* against the PEP, but gunicorn takes it */
    } else {
        PyErr_Format(PyExc_TypeError, "start_response: a header must be a tuple (name, value), not %R", pair);
        return -1;
    }
    if (latin1((*items)[0], "the name of a header", NULL, &out->name) < 0) {
        return -1;
    }
    return latin1((*items)[1], "the value of header", (*items)[0], &out->value);
}

static int add_field(struct start_response *s, PyObject *pair)
{
    PyObject *const *items;
    struct field field;

    if (read_field(pair, &items, &field) < 0) {
        return -1;
    }
    enum response_error e = response_add(&s->x->response, field.name, field.value);
    if (e == RESPONSE_HOP_BY_HOP) {
        tell_hop_by_hop(s, field.name);
    }
    return raise_response_error(e, items[0], items[1]);
}

static int add_fields(struct start_response *s, PyObject *list)
{
    int status = 0;

    for (Py_ssize_t i = 0; status == 0 && i < PySequence_Fast_GET_SIZE(list); i++) {
        PyObject *field = PySequence_Fast_GET_ITEM(list, i);
        Py_INCREF(field); /* a repr in an error message may change the list */
        status = add_field(s, field);
        Py_DECREF(field);
    }
    return status;
}

static int raise_again(PyObject *exc_info)
{
    PyObject *type, *value, *tb;

    if (!PyArg_ParseTuple(exc_info, "OOO:exc_info", &type, &value, &tb)) {
        return -1;
    }
    if (!PyExceptionInstance_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "start_response: exc_info holds no exception");
        return -1;
    }
    if (PyTraceBack_Check(tb)) {
        PyException_SetTraceback(value, tb);
    }
    PyErr_SetObject((PyObject *)Py_TYPE(value), value);
    return -1;
}

/* PEP 3333: a second call needs exc_info, and then replaces the headers, unless they have gone out already: then the
 * exception goes on. */
static int may_start(const struct start_response *s, PyObject *exc_info)
{
    if (!exc_info || exc_info == Py_None) {
        if (s->called) {
            PyErr_SetString(PyExc_AssertionError, "start_response was called twice, without exc_info");
            return -1;
        }
        return 0;
    }
    if (!PyTuple_Check(exc_info)) {
        PyErr_SetString(PyExc_TypeError, "start_response: exc_info must be a tuple");
        return -1;
    }
    return s->body_started || s->x->response.head_sent ? raise_again(exc_info) : 0;
}

static int start(struct start_response *s, PyObject *status, PyObject *headers, PyObject *exc_info)
{
    struct response *r = &s->x->response;
    struct str line;

    /* First, since it may be a generator, which can do anything; a list stays itself. */
    PyObject *list = PySequence_Fast(headers, "start_response: the headers must be a list");
    if (!list || may_start(s, exc_info) < 0 || latin1(status, "the status", NULL, &line) < 0) {
        Py_XDECREF(list);
        return -1;
    }
    s->called = false; /* what fails half-way does not count */
    s->called = raise_response_error(response_start(r, line), NULL, status) == 0 && add_fields(s, list) == 0;
    Py_DECREF(list);
    return s->called ? 0 : -1;
}

/* The PEP passes all three by position; exc_info is taken by name as well. */
static PyObject *call_start_response(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    PyObject *exc_info = n > 2 ? args[2] : NULL;
    struct start_response *s = request_of(self);

    if (!s) {
        return NULL;
    }
    if (kwnames && PyTuple_GET_SIZE(kwnames) > 0) {
        if (n != 2 || PyTuple_GET_SIZE(kwnames) != 1 ||
            PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "exc_info") != 0) {
            PyErr_SetString(PyExc_TypeError, "start_response takes its arguments by position");
            return NULL;
        }
        exc_info = args[2];
    } else if (n < 2 || n > 3) {
        PyErr_Format(PyExc_TypeError, "start_response takes 2 or 3 arguments (%zd given)", n);
        return NULL;
    }
    if (start(s, args[0], args[1], exc_info) < 0) {
        return NULL;
    }
    Py_INCREF(s->write);
    return s->write;
}

static int push_hint(struct response *r, PyObject *list)
{
    size_t n = (size_t)PySequence_Fast_GET_SIZE(list), bad = 0;
    struct field *fields = PyMem_New(struct field, n);
    PyObject *const *items = NULL;
    int status = fields ? 0 : -1;

    if (!fields) {
        PyErr_NoMemory();
    }
    for (size_t i = 0; status == 0 && i < n; i++) {
        status = read_field(PySequence_Fast_GET_ITEM(list, (Py_ssize_t)i), &items, &fields[i]);
    }
    if (status == 0) {
        enum response_error e = response_hint(r, fields, n, &bad);
        PyObject *pair = n > 0 ? PySequence_Fast_GET_ITEM(list, (Py_ssize_t)bad) : Py_None;
        status = raise_response_error(e, pair, pair);
    }
    PyMem_Free(fields);
    return status;
}

/* An interim answer, which goes out at once; nothing where it comes too late, or to an HTTP/1.0 client. */
static int hint(struct start_response *s, PyObject *headers)
{
    struct response *r = &s->x->response;
    PyObject *list = PySequence_Fast(headers, "wsgi.early_hints: the headers must be a list");
    int status = list ? 0 : -1;

    if (list && !r->finished && !r->head_sent && s->x->request.minor > 0) { /* finished: it is the loop's */
        status = push_hint(r, list);
        if (status == 0) {
            exchange_flush(s->x);
        }
    }
    Py_XDECREF(list);
    return status;
}

static PyObject *call_hints(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct start_response *s = request_of_one(self, nargsf, kwnames, "wsgi.early_hints");

    if (!s || hint(s, args[0]) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Body */

int start_response_body(struct start_response *s, PyObject *chunk)
{
    PyObject *exact = NULL;

    if (!PyBytes_Check(chunk)) {
        PyErr_Format(PyExc_TypeError, "the body must be made of bytes, not %.100s", Py_TYPE(chunk)->tp_name);
        return -1;
    }
    if (PyBytes_GET_SIZE(chunk) == 0) {
        return 0;
    }
    if (!s->called) {
        PyErr_SetString(PyExc_AssertionError, "start_response was not called before the first piece of the body");
        return -1;
    }
    if (!PyBytes_CheckExact(chunk)) { /* letting a subclass go may run Python code, which the loop must never do */
        exact = PyBytes_FromStringAndSize(PyBytes_AS_STRING(chunk), PyBytes_GET_SIZE(chunk));
        if (!exact) {
            return -1;
        }
        chunk = exact;
    }
    s->body_started = true;
    struct response *response = &s->x->response;
    int r = 0;
    if (response->finished) {
        response->dropped_bytes += (uint64_t)PyBytes_GET_SIZE(chunk); /* it was whole without this */
    } else {
        r = lend_push(s->shared->lender, response, chunk);
    }
    Py_XDECREF(exact);
    return r;
}

static PyObject *call_write(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    struct start_response *s = request_of_one(self, nargsf, kwnames, "write");

    if (!s) {
        return NULL;
    }
    forks_check();
    if (start_response_body(s, args[0]) < 0) {
        return NULL;
    }
    if (s->body_started) {
        exchange_flush(s->x);
    }
    Py_RETURN_NONE;
}

/* Life */

static int bind_callable(PyObject **slot, PyTypeObject *type, vectorcallfunc call, struct start_response *s)
{
    if (!*slot) {
        *slot = type->tp_alloc(type, 0);
        if (!*slot) {
            return -1;
        }
        ((struct callable *)*slot)->call = call;
    }
    ((struct callable *)*slot)->s = s;
    return 0;
}

/* Ours again, if nobody else has it. */
static void unbind_callable(PyObject **slot)
{
    if (!*slot) {
        return;
    }
    ((struct callable *)*slot)->s = NULL;
#ifdef Py_GIL_DISABLED
    Py_CLEAR(*slot); /* a count seen by one thread says little about the others */
#else
    if (Py_REFCNT(*slot) > 1) {
        Py_CLEAR(*slot);
    }
#endif
}

int start_response_begin(struct start_response *s, struct start_response_shared *shared, struct exchange *x)
{
    const struct module_state *types = shared->types;

    s->x = x;
    s->shared = shared;
    s->thread = pthread_self();
    s->called = false;
    s->body_started = false;
    if (bind_callable(&s->callable, types->start_response, call_start_response, s) < 0 ||
        bind_callable(&s->hints, types->hints, call_hints, s) < 0) {
        return -1;
    }
    return bind_callable(&s->write, types->write, call_write, s);
}

void start_response_end(struct start_response *s)
{
    unbind_callable(&s->callable);
    unbind_callable(&s->write);
    unbind_callable(&s->hints);
    s->x = NULL;
}

void start_response_finish(struct start_response *s)
{
    Py_CLEAR(s->callable);
    Py_CLEAR(s->write);
    Py_CLEAR(s->hints);
}

static void dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);

    type->tp_free(object);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct callable, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, MODULE_FUNCTION(dealloc)},
    {Py_tp_call, MODULE_FUNCTION(PyVectorcall_Call)},
    {Py_tp_members, members},
    {0, NULL},
};

PyType_Spec start_response_spec = {
    .name = "_cwsgi.StartResponse",
    .basicsize = sizeof(struct callable),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = slots,
};

PyType_Spec start_response_write_spec = {
    .name = "_cwsgi.Write",
    .basicsize = sizeof(struct callable),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = slots,
};

PyType_Spec start_response_hints_spec = {
    .name = "_cwsgi.EarlyHints",
    .basicsize = sizeof(struct callable),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = slots,
};

/* wsgi.c - runs an exchange through the application: begin, next, end. */
#include "wsgi/wsgi.h"

#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "python/forks.h"
#include "python/gil.h"
#include "python/paste.h"
#include "python/pyerror.h"
#include "python/pyhooks.h"
#include "python/pylog.h"
#include "server/base/clock.h"
#include "server/config/settings.h"
#include "server/exec/app.h"
#include "server/http/exchange.h"
#include "wsgi/environ.h"
#include "wsgi/file_wrapper.h"
#include "wsgi/input.h"
#include "wsgi/latin1.h"
#include "wsgi/lend.h"
#include "wsgi/module.h"
#include "wsgi/start_response.h"
#include "wsgi/variables.h"

/* One call of the application, from begin to end. Kept for the next one afterwards, with the objects in it that the
 * application gave back. */
struct call {
    struct start_response start_response;
    PyObject *input;    /* owned; kept between requests */
    PyObject *environ;  /* owned */
    PyObject *iterable; /* owned: what the application returned */
    PyObject *iterator; /* owned; NULL when `iterable` was taken whole */
    PyObject *request;  /* owned: what the hook pre_request saw; NULL: there is none */
    struct call *next;  /* in the free list */
};

struct wsgi {
    struct app app; /* first: what the executor knows of us */
    PyObject *module;
    const struct module_state *types; /* borrowed from module */
    PyObject *callable;               /* owned */
    struct environ *environ;          /* owned */
    PyObject *close_name;             /* owned: "close", interned */
    struct pyhooks_around around;
    struct lender lender;
    struct start_response_shared starting;
    struct call *spare; /* owned: free list */
    bool sendfile;
    bool logs;            /* Python's logging is told of requests */
    atomic_uint reported; /* bits of enum mistake */
};

static struct wsgi *wsgi_of(struct app *a)
{
    return (struct wsgi *)a;
}

/* Calls and their free list */

static void destroy_call(struct call *c)
{
    start_response_finish(&c->start_response);
    Py_XDECREF(c->input);
    PyMem_Free(c);
}

static struct call *take_call(struct wsgi *w)
{
    struct call *c = w->spare;

    if (c) {
        w->spare = c->next;
        return c;
    }
    c = PyMem_Calloc(1, sizeof(*c));
    if (!c) {
        PyErr_NoMemory();
    }
    return c;
}

static void give_call(struct wsgi *w, struct call *c)
{
#ifdef Py_GIL_DISABLED
    (void)w;
    destroy_call(c); /* several threads may be here: no list */
#else
    c->next = w->spare;
    w->spare = c;
#endif
}

/* The body */

static enum app_result failed(const struct exchange *x)
{
    const struct request *r = &x->request;

    pyerror_log(LOG_LEVEL_ERROR, "Error handling request %.*s %.*s", (int)r->method.len, r->method.p,
                (int)r->target.len, r->target.p);
    return APP_FAILED;
}

/* What is put right for the application. It is said once in a worker's life: one that each request makes would fill the
 * log. */
enum mistake { BODY_TOO_LONG = 1, BODY_WHERE_NONE_MAY_BE = 2 };

static bool is_news(struct wsgi *w, enum mistake mistake)
{
    return !(atomic_fetch_or_explicit(&w->reported, mistake, memory_order_relaxed) & mistake);
}

static void report_mistakes(struct wsgi *w, const struct exchange *x)
{
    const struct request *q = &x->request;
    const struct response *r = &x->response;

    if (r->dropped_bytes > 0 && is_news(w, BODY_TOO_LONG)) {
        log_warning("The body of %.*s %.*s is %llu bytes longer than its Content-Length: they were cut off; this will"
                    " not be reported again",
                    (int)q->method.len, q->method.p, (int)q->target.len, q->target.p,
                    (unsigned long long)r->dropped_bytes);
    }
    if (r->no_body && !r->to_head && r->body_bytes > 0 && is_news(w, BODY_WHERE_NONE_MAY_BE)) {
        log_warning("The answer to %.*s %.*s has status %d, with which no body goes: it was dropped; this will not be"
                    " reported again",
                    (int)q->method.len, q->method.p, (int)q->target.len, q->target.p, r->status);
    }
}

static enum app_result complete(struct wsgi *w, struct call *c, struct exchange *x)
{
    struct response *r = &x->response;

    if (!c->start_response.called) {
        PyErr_SetString(PyExc_AssertionError, "the application did not call start_response");
        return failed(x);
    }
    response_end(r);
    report_mistakes(w, x);
    if (response_is_short(r)) {
        PyErr_Format(PyExc_ValueError, "the body ends after %llu bytes, but its Content-Length is %lld",
                     (unsigned long long)r->body_bytes, (long long)r->content_length);
        return failed(x);
    }
    return APP_DONE;
}

/* A list or tuple may hold all of the body at hand: it is taken whole, each piece being lent and not copied. */
static enum app_result push_items(struct wsgi *w, struct call *c, struct exchange *x)
{
    bool list = PyList_CheckExact(c->iterable);

    for (Py_ssize_t i = 0; i < (list ? PyList_GET_SIZE(c->iterable) : PyTuple_GET_SIZE(c->iterable)); i++) {
        PyObject *item = list ? PyList_GET_ITEM(c->iterable, i) : PyTuple_GET_ITEM(c->iterable, i);
        Py_INCREF(item);
        int r = start_response_body(&c->start_response, item);
        Py_DECREF(item);
        if (r < 0) {
            return failed(x);
        }
    }
    return complete(w, c, x);
}

/* A body with as many bytes as its Content-Length says is complete before its iterator says so. */
static enum app_result more(struct response *r)
{
    if (r->body_bytes > 0 && r->content_length == (int64_t)r->body_bytes) {
        response_end(r);
    }
    return r->finished ? APP_WHOLE : APP_MORE;
}

static enum app_result push_next(struct wsgi *w, struct call *c, struct exchange *x)
{
    PyObject *item = Py_TYPE(c->iterator)->tp_iternext(c->iterator);

    forks_check();
    if (!item) {
        if (!PyErr_Occurred()) {
            return complete(w, c, x);
        }
        if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
            return failed(x);
        }
        PyErr_Clear();
        return complete(w, c, x);
    }
    int r = start_response_body(&c->start_response, item);
    Py_DECREF(item);
    return r < 0 ? failed(x) : more(&x->response);
}

/* The whole of a file, if the wrapper has one. 1: pushed, 0: iterate it, -1 with an exception. */
static int push_file(struct wsgi *w, struct call *c, struct exchange *x)
{
    struct chunk chunk;

    if (!w->sendfile || !c->start_response.called || !file_wrapper_chunk(c->iterable, &chunk)) {
        return 0;
    }
    if (response_push(&x->response, &chunk) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 1;
}

/* What the application returned decides how its body is taken. */
static enum app_result first(struct wsgi *w, struct call *c, struct exchange *x)
{
    PyTypeObject *type = Py_TYPE(c->iterable);

    if (type == &PyList_Type || type == &PyTuple_Type) {
        return push_items(w, c, x);
    }
    if (type == w->types->file_wrapper) {
        int r = push_file(w, c, x);
        if (r != 0) {
            return r < 0 ? failed(x) : complete(w, c, x);
        }
    }
    c->iterator = PyObject_GetIter(c->iterable);
    return c->iterator ? push_next(w, c, x) : failed(x);
}

/* struct app */

static void attach(struct app *a)
{
    (void)a;
    gil_acquire();
    lend_attached(true);
}

static void detach(struct app *a)
{
    (void)a;
    lend_attached(false);
    gil_release();
}

static void leave(struct app *a)
{
    (void)a;
    gil_forget();
}

static enum app_result begin(struct app *a, struct exchange *x)
{
    struct wsgi *w = wsgi_of(a);
    struct call *c = take_call(w);

    x->app = c;
    if (!c) {
        return failed(x);
    }
    if (!c->input && !(c->input = input_new(w->types))) {
        return failed(x);
    }
    input_begin(c->input, x->body);
    if (start_response_begin(&c->start_response, &w->starting, x) < 0) {
        return failed(x);
    }
    c->environ = environ_make(w->environ, x, c->input, c->start_response.hints);
    if (!c->environ || (w->around.pre && !(c->request = pyhooks_before_request(&w->around, c->environ)))) {
        return failed(x);
    }

    PyObject *args[] = {NULL, c->environ, c->start_response.callable};
    c->iterable = PyObject_Vectorcall(w->callable, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    forks_check();
    if (!c->iterable && x->request.websocket && PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyErr_Clear(); /* what gunicorn takes for the end of a connection that the application has taken over */
        return APP_FAILED;
    }
    return c->iterable ? first(w, c, x) : failed(x);
}

static enum app_result next(struct app *a, struct exchange *x)
{
    return push_next(wsgi_of(a), x->app, x);
}

/* PEP 3333: called once, however the request went. What it raises cannot change the answer any more. */
static void close_iterable(struct wsgi *w, struct call *c, const struct exchange *x)
{
    if (PyList_CheckExact(c->iterable) || PyTuple_CheckExact(c->iterable)) {
        return;
    }
    PyObject *method = PyObject_GetAttr(c->iterable, w->close_name);
    if (!method) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            failed(x);
        }
        PyErr_Clear();
        return;
    }
    PyObject *r = PyObject_CallNoArgs(method);
    Py_DECREF(method);
    forks_check();
    if (!r) {
        failed(x);
    }
    Py_XDECREF(r);
}

static int append_field(PyObject *headers, PyObject *name, PyObject *value)
{
    PyObject *pair = name && value ? PyTuple_Pack(2, name, value) : NULL;
    int r = pair ? PyList_Append(headers, pair) : -1;

    Py_XDECREF(pair);
    Py_XDECREF(value);
    Py_XDECREF(name);
    return r;
}

/* The answer's fields, as a list of pairs. The protocol keeps its length as a number and writes it by itself, but not
 * with 204: RFC 9110 8.6. */
static PyObject *headers_of(const struct response *r)
{
    PyObject *headers = PyList_New(0);
    bool ok = headers != NULL;

    for (size_t i = 0; ok && i < r->n_fields; i++) {
        ok = append_field(headers, latin1_new(r->fields[i].name), latin1_new(r->fields[i].value)) == 0;
    }
    if (ok && r->content_length >= 0 && r->status != 204) {
        PyObject *length = latin1_number((uint64_t)r->content_length);
        ok = append_field(headers, latin1_new(STR("Content-Length")), length) == 0;
    }
    if (!ok) {
        Py_CLEAR(headers);
    }
    return headers;
}

/* What a hook and a logger are told of an answered request (pyhooks.h). A new reference to a tuple, or NULL with an
 * exception. */
static PyObject *answered(struct call *c, const struct response *r)
{
    PyObject *status = latin1_new(r->status_line);
    PyObject *headers = status ? headers_of(r) : NULL;
    PyObject *length = r->content_length < 0 ? Py_None : NULL;
    Py_XINCREF(length);
    length = length ? length : PyLong_FromLongLong(r->content_length);
    PyObject *args = status && headers && length
                         ? Py_BuildValue("(OOOOKO)", c->request ? c->request : Py_None, c->environ, status, headers,
                                         (unsigned long long)r->body_bytes, length)
                         : NULL;
    Py_XDECREF(length);
    Py_XDECREF(headers);
    Py_XDECREF(status);
    return args;
}

/* For the hook and the logger that the configuration may have. What failed, or lost its client, has no answer yet that
 * the logger could be told. */
static void tell(struct wsgi *w, struct call *c, struct exchange *x)
{
    bool log = pylog_on() && x->response.finished && !response_is_short(&x->response) && !atomic_load(&x->aborted);
    if (!c->environ || (!w->around.post && !log)) {
        return;
    }
    PyObject *args = answered(c, &x->response);
    if (log) {
        pylog_access(args, clock_mono_us() - x->started_us);
        x->told = true;
    }
    if (w->around.post) {
        pyhooks_after_request(&w->around, args);
    }
    Py_XDECREF(args);
}

static void end(struct app *a, struct exchange *x)
{
    struct wsgi *w = wsgi_of(a);
    struct call *c = x->app;

    if (!c) {
        return; /* begin had no memory */
    }
    start_response_end(&c->start_response); /* the response is out of the application's hands, also in close() */
    if (c->iterable) {
        close_iterable(w, c, x);
    }
    tell(w, c, x);
    if (x->wanted && c->environ) {
        variables_keep(x, c->environ);
    }
    Py_CLEAR(c->request);
    Py_CLEAR(c->iterator);
    Py_CLEAR(c->iterable);
    Py_CLEAR(c->environ);
    if (c->input) {
        input_end(c->input);
        if (Py_REFCNT(c->input) > 1) {
            Py_CLEAR(c->input); /* the application keeps it */
        }
    }
    x->app = NULL;
    give_call(w, c);
}

static int reap_pending(const struct app *a)
{
    return lend_pending(&((const struct wsgi *)a)->lender);
}

static void reap(struct app *a)
{
    lend_reap(&wsgi_of(a)->lender);
}

/* Life */

/* The thread that imports `threading` first is the main thread to Python: it must not be one of the pool's. */
static int import_threading(void)
{
    PyObject *threading = PyImport_ImportModule("threading");

    Py_XDECREF(threading);
    return threading ? 0 : -1;
}

static int prepare(struct wsgi *w, const struct settings *s)
{
    if (s->threads > 1 && import_threading() < 0) {
        return -1;
    }
    w->module = PyImport_ImportModule("_cwsgi");
    if (!w->module) {
        return -1;
    }
    w->types = module_state(w->module);
    w->close_name = PyUnicode_InternFromString("close");
    w->environ = w->close_name ? environ_create(s, w->types) : NULL;
    if (!w->environ) {
        return -1;
    }
    w->starting = (struct start_response_shared){.types = w->types, .lender = &w->lender};
    w->sendfile = s->sendfile;
    return pyhooks_around(&w->around);
}

enum load_result wsgi_create(struct app **out, const struct settings *s, const char *address)
{
    enum load_result r = LOAD_IMPORT_FAILED;
    struct wsgi *w = calloc(1, sizeof(*w));

    *out = NULL;
    if (!w) {
        log_error("The application cannot be made ready: out of memory");
        return r;
    }
    w->app = (struct app){attach, detach, leave, begin, next, end, reap_pending, reap};
    if (prepare(w, s) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "The WSGI side could not be made");
        goto fail;
    }
    bool paste = s->paste && strcmp(address, s->paste) == 0;
    r = paste ? paste_load(s, &w->callable) : load_app(address, &w->callable);
    if (r != LOAD_OK) {
        goto fail;
    }
    pyhooks_loaded(w->callable);
    lend_attached(true); /* this thread holds the interpreter without having called attach */
    *out = &w->app;
    return LOAD_OK;

fail:
    wsgi_destroy(&w->app);
    return r;
}

void wsgi_destroy(struct app *a)
{
    struct wsgi *w = wsgi_of(a);

    if (!w) {
        return;
    }
    while (w->spare) {
        struct call *c = w->spare;
        w->spare = c->next;
        destroy_call(c);
    }
    lend_finish(&w->lender);
    pyhooks_around_finish(&w->around);
    environ_destroy(w->environ);
    Py_XDECREF(w->callable);
    Py_XDECREF(w->close_name);
    Py_XDECREF(w->module);
    free(w);
}

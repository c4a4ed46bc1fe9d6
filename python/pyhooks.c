#include "python/pyhooks.h"

#include <Python.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "python/configfile.h"
#include "python/interp.h"
#include "python/pyerror.h"
#include "server/config/settings.h"
#include "server/process/hooks.h"

#define MODULE "_cwsgi_hooks"

/* The stand-ins, and one caller for each hook, which knows its arguments. They live in a module of their own, made when
 * there is a hook to call. `log` and `settings` are put into it before it runs. In pieces, since ISO C promises 4095
 * characters a literal and no more. */
static const char *const source[] = {
    "import os\n"
    "import sys\n"
    "import traceback\n"
    "from types import SimpleNamespace\n"
    "\n"
    "\n"
    "class Log:\n"
    "    def _put(self, level, msg, args, exc_info=None):\n"
    "        text = str(msg)\n"
    "        if args:\n"
    "            text %= args[0] if len(args) == 1 and isinstance(args[0], dict) else args\n"
    "        if exc_info:\n"
    "            if isinstance(exc_info, BaseException):\n"
    "                exc_info = type(exc_info), exc_info, exc_info.__traceback__\n"
    "            elif not isinstance(exc_info, tuple):\n"
    "                exc_info = sys.exc_info()\n"
    "            text += '\\n' + ''.join(traceback.format_exception(*exc_info)).rstrip()\n"
    "        log(level, text)\n"
    "\n"
    "    def debug(self, msg, *args, **kw):\n"
    "        self._put(0, msg, args, kw.get('exc_info'))\n"
    "\n"
    "    def info(self, msg, *args, **kw):\n"
    "        self._put(1, msg, args, kw.get('exc_info'))\n"
    "\n"
    "    def warning(self, msg, *args, **kw):\n"
    "        self._put(2, msg, args, kw.get('exc_info'))\n"
    "\n"
    "    warn = warning\n"
    "\n"
    "    def error(self, msg, *args, **kw):\n"
    "        self._put(3, msg, args, kw.get('exc_info'))\n"
    "\n"
    "    def exception(self, msg, *args, **kw):\n"
    "        self._put(3, msg, args, kw.get('exc_info', True))\n"
    "\n"
    "    def critical(self, msg, *args, **kw):\n"
    "        self._put(4, msg, args, kw.get('exc_info'))\n"
    "\n"
    "    def log(self, level, msg, *args, **kw):\n"
    "        self._put(min(max(level // 10 - 1, 0), 4), msg, args, kw.get('exc_info'))\n"
    "\n"
    "\n",

    "class Config(SimpleNamespace):\n"
    "    @property\n"
    "    def address(self):\n"
    "        return self.bind\n"
    "\n"
    "\n"
    "class Server:\n"
    "    def __init__(self):\n"
    "        self.log = Log()\n"
    "        self.cfg = Config(**settings)\n"
    "        self.pid = os.getpid()\n"
    "        self.address = self.cfg.bind\n"
    "        self.proc_name = self.cfg.proc_name or self.cfg.default_proc_name\n"
    "        self.num_workers = self.cfg.workers\n"
    "        self.timeout = self.cfg.timeout\n"
    "        self.worker_age = 0\n"
    "        self.WORKERS = {}\n"
    "        self.LISTENERS = []\n"
    "\n"
    "\n"
    "class Worker:\n"
    "    def __init__(self, age, pid):\n"
    "        self.log = server.log\n"
    "        self.cfg = server.cfg\n"
    "        self.age = age\n"
    "        self.pid = pid\n"
    "        self.ppid = server.pid\n"
    "        self.timeout = server.timeout\n"
    "        self.alive = self.booted = True\n"
    "        self.aborted = False\n"
    "        self.nr = 0\n"
    "\n"
    "    def notify(self):\n"
    "        pass\n"
    "\n"
    "    def __str__(self):\n"
    "        return '<Worker %s>' % self.pid\n"
    "\n"
    "\n",

    "class Request:\n"
    "    def __init__(self, environ):\n"
    "        self.method = environ['REQUEST_METHOD']\n"
    "        self.uri = environ['RAW_URI']\n"
    "        self.path = self.uri.partition('?')[0]\n"
    "        self.query = environ['QUERY_STRING']\n"
    "        self.scheme = environ['wsgi.url_scheme']\n"
    "        self.version = tuple(map(int, environ['SERVER_PROTOCOL'][5:].split('.')))\n"
    "        self.remote_addr = environ['REMOTE_ADDR'], int(environ.get('REMOTE_PORT', 0))\n"
    "        self.body = environ['wsgi.input']\n"
    "        self.headers = [(key[5:].replace('_', '-'), value) for key, value in environ.items() if key[:5] == "
    "'HTTP_']\n"
    "        for key in 'CONTENT_TYPE', 'CONTENT_LENGTH':\n"
    "            if key in environ:\n"
    "                self.headers.append((key.replace('_', '-'), environ[key]))\n"
    "\n"
    "\n"
    "class Response:\n"
    "    def __init__(self, status, headers):\n"
    "        self.status = status\n"
    "        self.status_code = int(status[:3] or 500)\n"
    "        self.headers = headers\n"
    "        self.headers_sent = True\n"
    "\n"
    "\n",

    "server = Server()\n"
    "worker = None\n"
    "request = None\n"
    "\n"
    "\n"
    "def current(age=0):\n"
    "    global worker\n"
    "    if worker is None or worker.pid != os.getpid():\n"
    "        worker = Worker(age, os.getpid())\n"
    "    return worker\n"
    "\n"
    "\n"
    "def on_starting(hook):\n"
    "    hook(server)\n"
    "\n"
    "\n"
    "when_ready = on_reload = on_exit = on_starting\n"
    "\n"
    "\n"
    "def pre_fork(hook, age):\n"
    "    server.worker_age = age\n"
    "    hook(server, Worker(age, '[booting]'))\n"
    "\n"
    "\n"
    "def child_exit(hook, pid, age):\n"
    "    hook(server, Worker(age, pid))\n"
    "\n"
    "\n"
    "def nworkers_changed(hook, now, before):\n"
    "    server.num_workers = now\n"
    "    hook(server, now, before or None)\n"
    "\n"
    "\n"
    "def post_fork(hook, age):\n"
    "    hook(server, current(age))\n"
    "\n"
    "\n"
    "worker_exit = post_fork\n"
    "\n"
    "\n"
    "def post_worker_init(hook, age):\n"
    "    hook(current(age))\n"
    "\n"
    "\n"
    "def worker_int(hook):\n"
    "    hook(current())\n"
    "\n"
    "\n"
    "worker_abort = worker_int\n"
    "\n"
    "\n"
    "def pre_request(hook):\n"
    "    def call(environ):\n"
    "        hook(current(), Request(environ))\n"
    "    return call\n"
    "\n"
    "\n"
    "def post_request(hook):\n"
    "    code = getattr(hook, '__code__', None)\n"
    "    count = code.co_argcount if code and not code.co_flags & 4 else 4\n"
    "\n"
    "    def call(environ, status, headers):\n"
    "        current().nr += 1\n"
    "        hook(*(worker, Request(environ), environ, Response(status, headers))[:count])\n"
    "    return call\n",
};

/* --- The module -----------------------------------------------------------------------------------------------------
 */

/* log(level, text) for the stand-in of gunicorn's logger. */
static PyObject *put_log(PyObject *self, PyObject *args)
{
    int level;
    PyObject *text;

    (void)self;
    if (!PyArg_ParseTuple(args, "iU", &level, &text)) {
        return NULL;
    }
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");
    if (!bytes) {
        return NULL;
    }
    log_text((enum log_level)level, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    Py_RETURN_NONE;
}

static PyMethodDef log_method = {"log", put_log, METH_VARARGS, NULL};

static PyObject *new_ref(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

static PyObject *value_of_text(const char *text)
{
    return text ? PyUnicode_DecodeFSDefault(text) : new_ref(Py_None);
}

static PyObject *value_of_texts(const struct strings *s)
{
    PyObject *list = PyList_New(0);

    for (size_t i = 0; list && i < s->n; i++) {
        PyObject *text = value_of_text(s->v[i]);
        if (!text || PyList_Append(list, text) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(text);
    }
    return list;
}

static PyObject *value_of_pairs(const struct strings *s)
{
    PyObject *dict = PyDict_New();

    for (size_t i = 0; dict && i < s->n; i++) {
        const char *equals = strchr(s->v[i], '=');
        PyObject *name = PyUnicode_DecodeFSDefaultAndSize(s->v[i], equals - s->v[i]);
        PyObject *value = value_of_text(equals + 1);
        if (!name || !value || PyDict_SetItem(dict, name, value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    return dict;
}

static PyObject *value_of_level(int level)
{
    static const char *const names[] = {"debug", "info", "warning", "error", "critical"};

    return PyUnicode_FromString(names[level]);
}

/* What a row of the table looks like in Python. */
static PyObject *value_of(const struct settings *s, const struct setting *row)
{
    const void *member = (const char *)s + row->offset;

    switch (row->type) {
    case SETTING_STR:
    case SETTING_DIR:
    case SETTING_USER:
    case SETTING_GROUP:
    case SETTING_DICT:
        return value_of_text(*(char *const *)member);
    case SETTING_HOOK: {
        PyObject *hook = configfile_hook(row->name);
        return new_ref(hook ? hook : Py_None);
    }
    case SETTING_INT:
    case SETTING_SECONDS:
    case SETTING_OCTAL:
        return PyLong_FromLong(*(const int *)member);
    case SETTING_LOGLEVEL:
        return value_of_level(*(const int *)member);
    case SETTING_SIZE:
        return PyLong_FromSize_t(*(const size_t *)member);
    case SETTING_BOOL:
    case SETTING_BOOL_OFF:
        return PyBool_FromLong(*(const bool *)member);
    case SETTING_STRINGS:
    case SETTING_CSV:
    case SETTING_ADDRESSES:
        return value_of_texts((const struct strings *)member);
    case SETTING_PAIRS:
        return value_of_pairs((const struct strings *)member);
    }
    return new_ref(Py_None);
}

/* Steals the value, which may be NULL with an exception. */
static int put(PyObject *dict, const char *name, PyObject *value)
{
    int r = value ? PyDict_SetItemString(dict, name, value) : -1;

    Py_XDECREF(value);
    return r;
}

static PyObject *settings_dict(const struct settings *s)
{
    const struct setting *table = settings_table();
    PyObject *dict = PyDict_New();

    for (size_t i = 0; dict && i < SETTINGS_ROWS; i++) {
        if (!table[i].section && put(dict, table[i].name, value_of(s, &table[i])) < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

static PyObject *source_text(void)
{
    PyObject *text = PyUnicode_FromString("");

    for (size_t i = 0; i < sizeof(source) / sizeof(source[0]); i++) {
        PyUnicode_AppendAndDel(&text, PyUnicode_FromString(source[i]));
    }
    return text;
}

static int make_module(const struct settings *s)
{
    PyObject *result = NULL;
    PyObject *module = PyImport_AddModule(MODULE); /* borrowed from sys.modules */
    PyObject *names = module ? PyModule_GetDict(module) : NULL;

    if (names && put(names, "__builtins__", new_ref(PyEval_GetBuiltins())) == 0 &&
        put(names, "log", PyCFunction_New(&log_method, NULL)) == 0 && put(names, "settings", settings_dict(s)) == 0) {
        PyObject *text = source_text();
        const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
        PyObject *code = utf8 ? Py_CompileString(utf8, "<" MODULE ">", Py_file_input) : NULL;
        if (code) {
            result = PyEval_EvalCode(code, names, names);
        }
        Py_XDECREF(code);
        Py_XDECREF(text);
    }
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* --- Calling ---------------------------------------------------------------------------------------------------- */

/* The stand-ins' function of that name. */
static PyObject *caller_of(const char *name)
{
    PyObject *module = PyImport_ImportModule(MODULE);
    PyObject *function = module ? PyObject_GetAttrString(module, name) : NULL;

    Py_XDECREF(module);
    return function;
}

/* Calls the hook `name`, if the configuration defines it, with `count` numbers. */
static int run(const char *name, int count, ...)
{
    int r = 0;
    va_list numbers;
    PyGILState_STATE state = PyGILState_Ensure(); /* the main thread may or may not hold the interpreter */
    PyObject *hook = configfile_hook(name);

    if (hook) {
        PyObject *result = NULL;
        PyObject *caller = caller_of(name);
        PyObject *args = caller ? PyTuple_New(count + 1) : NULL;
        va_start(numbers, count);
        if (args) {
            PyTuple_SET_ITEM(args, 0, new_ref(hook));
        }
        for (int i = 0; args && i < count; i++) {
            PyObject *n = PyLong_FromLong(va_arg(numbers, long));
            if (!n) {
                Py_CLEAR(args);
                break;
            }
            PyTuple_SET_ITEM(args, i + 1, n);
        }
        va_end(numbers);
        if (args) {
            result = PyObject_CallObject(caller, args);
        }
        if (!result) {
            pyerror_log(LOG_LEVEL_ERROR, "The server hook %s raised:", name);
            r = -1;
        }
        Py_XDECREF(result);
        Py_XDECREF(args);
        Py_XDECREF(caller);
    }
    PyGILState_Release(state);
    return r;
}

static int on_starting(struct hooks *h)
{
    (void)h;
    return run("on_starting", 0);
}

static int when_ready(struct hooks *h)
{
    (void)h;
    return run("when_ready", 0);
}

static void on_reload(struct hooks *h)
{
    (void)h;
    run("on_reload", 0);
}

static int pre_fork(struct hooks *h, unsigned age)
{
    (void)h;
    return run("pre_fork", 1, (long)age);
}

static void child_exit(struct hooks *h, pid_t pid, unsigned age)
{
    (void)h;
    run("child_exit", 2, (long)pid, (long)age);
}

static void nworkers_changed(struct hooks *h, int now, int before)
{
    (void)h;
    run("nworkers_changed", 2, (long)now, (long)before);
}

static void on_exit_hook(struct hooks *h)
{
    (void)h;
    run("on_exit", 0);
}

static int post_fork(struct hooks *h, unsigned age)
{
    (void)h;
    return run("post_fork", 1, (long)age);
}

static int post_worker_init(struct hooks *h, unsigned age)
{
    (void)h;
    return run("post_worker_init", 1, (long)age);
}

static void worker_int(struct hooks *h)
{
    (void)h;
    run("worker_int", 0);
}

static void worker_abort(struct hooks *h)
{
    (void)h;
    run("worker_abort", 0);
}

static void worker_exit(struct hooks *h, unsigned age)
{
    (void)h;
    run("worker_exit", 1, (long)age);
}

static bool any_hook(void)
{
    const struct setting *table = settings_table();

    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (!table[i].section && table[i].type == SETTING_HOOK && configfile_hook(table[i].name)) {
            return true;
        }
    }
    return false;
}

void pyhooks_plug(struct hooks *h, const struct settings *s)
{
    interp_plug(h);
    h->on_starting = on_starting;
    h->when_ready = when_ready;
    h->on_reload = on_reload;
    h->pre_fork = pre_fork;
    h->child_exit = child_exit;
    h->nworkers_changed = nworkers_changed;
    h->on_exit = on_exit_hook;
    h->post_fork = post_fork;
    h->post_worker_init = post_worker_init;
    h->worker_int = worker_int;
    h->worker_abort = worker_abort;
    h->worker_exit = worker_exit;
    if (any_hook() && make_module(s) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "The stand-ins for server hooks could not be made");
    }
}

/* --- Around requests ------------------------------------------------------------------------------------------------
 */

static int wrap(PyObject **out, const char *name)
{
    PyObject *hook = configfile_hook(name);

    *out = NULL;
    if (!hook) {
        return 0;
    }
    PyObject *caller = caller_of(name);
    if (caller) {
        *out = PyObject_CallFunctionObjArgs(caller, hook, NULL);
        Py_DECREF(caller);
    }
    return *out ? 0 : -1;
}

int pyhooks_around(struct pyhooks_around *a)
{
    return wrap(&a->pre, "pre_request") < 0 || wrap(&a->post, "post_request") < 0 ? -1 : 0;
}

void pyhooks_around_finish(struct pyhooks_around *a)
{
    Py_CLEAR(a->pre);
    Py_CLEAR(a->post);
}

int pyhooks_before_request(const struct pyhooks_around *a, PyObject *env)
{
    PyObject *r = PyObject_CallFunctionObjArgs(a->pre, env, NULL);

    Py_XDECREF(r);
    return r ? 0 : -1;
}

void pyhooks_after_request(const struct pyhooks_around *a, PyObject *env, PyObject *status, PyObject *headers)
{
    PyObject *r = PyObject_CallFunctionObjArgs(a->post, env, status, headers, NULL);

    if (!r) {
        pyerror_log(LOG_LEVEL_ERROR, "The server hook post_request raised:");
    }
    Py_XDECREF(r);
}

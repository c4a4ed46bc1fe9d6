/* pyhooks.c - calls the hooks of the configuration file, and makes what they are given. */
#include "python/pyhooks.h"

#include <Python.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include "python/configfile.h"
#include "python/interp.h"
#include "python/loggers.h"
#include "python/pyerror.h"
#include "python/pylog.h"
#include "python/sources.h"
#include "python/stacks.h"
#include "python/standins.h"
#include "server/config/settings.h"
#include "server/process/hooks.h"

#define MODULE "_cwsgi_hooks"
#define LOGGING_MODULE "_cwsgi_logging"
#define RELOAD_MODULE "_cwsgi_reload"

/* The module */

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

/* What a row of the table looks like in Python. */
static PyObject *value_of(const struct settings *s, const struct setting *row)
{
    const void *member = (const char *)s + row->offset;

    switch (row->type) {
    case SETTING_STR:
    case SETTING_LOGLEVEL:
    case SETTING_ENDPOINT:
    case SETTING_DIR:
    case SETTING_USER:
    case SETTING_GROUP:
        return value_of_text(*(char *const *)member);
    case SETTING_DICT: {
        PyObject *dict = configfile_object(row->name);
        return dict ? new_ref(dict) : PyDict_New();
    }
    case SETTING_HOOK: {
        PyObject *hook = configfile_object(row->name);
        return new_ref(hook ? hook : Py_None);
    }
    case SETTING_INT:
    case SETTING_COUNT:
    case SETTING_SECONDS:
    case SETTING_OCTAL:
        return PyLong_FromLong(*(const int *)member);
    case SETTING_SIZE:
        return PyLong_FromSize_t(*(const size_t *)member);
    case SETTING_BOOL_AUTO: {
        int number = *(const int *)member;
        return number == SETTING_AUTO ? value_of_text("auto") : PyBool_FromLong(number == SETTING_TRUE);
    }
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

int pyhooks_make_module(const char *name, const char *source, PyObject *values)
{
    PyObject *result = NULL;
    PyObject *module = values ? PyImport_AddModule(name) : NULL; /* borrowed from sys.modules */
    PyObject *names = module ? PyModule_GetDict(module) : NULL;

    if (names && put(names, "__builtins__", new_ref(PyEval_GetBuiltins())) == 0 && PyDict_Update(names, values) == 0) {
        PyObject *code = Py_CompileString(source, name, Py_file_input);
        if (code) {
            result = PyEval_EvalCode(code, names, names);
        }
        Py_XDECREF(code);
    }
    Py_XDECREF(values);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

int pyhooks_need_standins(const struct settings *s)
{
    PyObject *values = NULL;

    if (PyDict_GetItemString(PyImport_GetModuleDict(), MODULE)) {
        return 0;
    }
    values = PyDict_New();
    if (values &&
        (put(values, "log", PyCFunction_New(&log_method, NULL)) < 0 || put(values, "settings", settings_dict(s)) < 0)) {
        Py_CLEAR(values);
    }
    return pyhooks_make_module(MODULE, standins_source, values);
}

bool pyhooks_loggers_touched(void)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), LOGGING_MODULE);
    PyObject *r = module ? PyObject_CallMethod(module, "touched", NULL) : NULL;
    bool touched = r == Py_True;

    PyErr_Clear();
    Py_XDECREF(r);
    return touched;
}

static int make_sources(const struct settings *s)
{
    PyObject *values = PyDict_New();

    if (values && put(values, "extra", value_of_texts(&s->reload_extra_files)) < 0) {
        Py_CLEAR(values);
    }
    return pyhooks_make_module(RELOAD_MODULE, sources_source, values);
}

static int make_loggers(const struct settings *s)
{
    PyObject *values = PyDict_New();

    if (values && (put(values, "fd", PyLong_FromLong(log_fd())) < 0 ||
                   put(values, "level", PyLong_FromLong(10 * ((int)settings_log_level(s) + 1))) < 0 ||
                   put(values, "accesslog", value_of_text(s->accesslog)) < 0)) {
        Py_CLEAR(values);
    }
    return pyhooks_make_module(LOGGING_MODULE, loggers_source, values);
}

/* Calling */

/* The stand-ins' object of that name. Without stand-ins, since there is no hook, NULL without an exception. */
static PyObject *standin(const char *name)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), MODULE); /* borrowed */

    return module ? PyObject_GetAttrString(module, name) : NULL;
}

void pyhooks_loaded(PyObject *callable)
{
    PyObject *function = standin("loaded");
    PyObject *r = function ? PyObject_CallOneArg(function, callable) : NULL;

    if (!r && PyErr_Occurred()) {
        pyerror_log(LOG_LEVEL_WARNING, "Hooks are not told of the application:");
    }
    Py_XDECREF(r);
    Py_XDECREF(function);
}

/* Calls the stand-ins' function `name` with `args`, which it takes over and which may be NULL with an exception. What
 * the hooks of struct hooks answer. */
static int call(const char *name, PyObject *args)
{
    PyObject *function = standin(name);
    PyObject *result = function && args ? PyObject_CallObject(function, args) : NULL;
    int r = 0;

    if (!result && PyErr_ExceptionMatches(PyExc_SystemExit)) {
        r = HOOK_ENDS(pyerror_exit_status());
        log_error("The server hook %s called sys.exit", name);
    } else if (!result && PyErr_Occurred()) {
        pyerror_log(LOG_LEVEL_ERROR, "The server hook %s raised:", name);
        r = HOOK_ENDS(1);
    }
    Py_XDECREF(result);
    Py_XDECREF(function);
    Py_XDECREF(args);
    return r;
}

/* Calls the hook `name` by way of its caller, which gets `count` numbers and keeps account of workers also when the
 * configuration does not define that hook. */
static int run(const char *name, int count, ...)
{
    int r = 0;
    va_list numbers;
    PyGILState_STATE state = PyGILState_Ensure(); /* the main thread may or may not hold the interpreter */
    PyObject *hook = configfile_object(name);

    hook = hook ? new_ref(hook) : standin("nothing");
    if (hook) {
        PyObject *args = PyTuple_New(count + 1);
        va_start(numbers, count);
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
            PyTuple_SET_ITEM(args, 0, new_ref(hook));
        }
        r = call(name, args);
        Py_DECREF(hook);
    }
    PyGILState_Release(state);
    return r;
}

static int on_starting(struct hooks *h)
{
    (void)h;
    return run("on_starting", 0);
}

static void listening(struct hooks *h, const int *fds, size_t n)
{
    (void)h;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *args = PyTuple_New((Py_ssize_t)n);

    for (size_t i = 0; args && i < n; i++) {
        PyObject *fd = PyLong_FromLong(fds[i]);
        if (!fd) {
            Py_CLEAR(args);
            break;
        }
        PyTuple_SET_ITEM(args, i, fd);
    }
    call("listening", args);
    PyGILState_Release(state);
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

static int pre_exec(struct hooks *h)
{
    (void)h;
    return run("pre_exec", 0);
}

static int pre_fork(struct hooks *h, unsigned age)
{
    (void)h;
    return run("pre_fork", 1, (long)age);
}

static void forked(struct hooks *h, pid_t pid)
{
    (void)h;
    PyGILState_STATE state = PyGILState_Ensure();

    call("forked", Py_BuildValue("(l)", (long)pid));
    PyGILState_Release(state);
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

static int post_fork(struct hooks *h)
{
    (void)h;
    return run("post_fork", 0);
}

static int post_worker_init(struct hooks *h)
{
    (void)h;
    return run("post_worker_init", 0);
}

static void worker_int(struct hooks *h)
{
    (void)h;
    run("worker_int", 0);
}

static void worker_exit(struct hooks *h)
{
    (void)h;
    run("worker_exit", 0);
}

/* Gives each path of a list of str. 0, or -1 with an exception. */
static int give_paths(PyObject *files, void (*each)(void *arg, const char *path), void *arg)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(files); i++) {
        PyObject *path = PyUnicode_EncodeFSDefault(PyList_GET_ITEM(files, i));
        if (!path) {
            return -1;
        }
        each(arg, PyBytes_AS_STRING(path));
        Py_DECREF(path);
    }
    return 0;
}

static void sources(struct hooks *h, void (*each)(void *arg, const char *path), void *arg)
{
    (void)h;
    PyGILState_STATE state = PyGILState_Ensure();
    PyObject *module = PyImport_ImportModule(RELOAD_MODULE);
    PyObject *files = module ? PyObject_CallMethod(module, "files", NULL) : NULL;

    if (!files || give_paths(files, each, arg) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "There is no way to know which files to watch");
    }
    Py_XDECREF(files);
    Py_XDECREF(module);
    PyGILState_Release(state);
}

static void stacks(struct hooks *h, pthread_t thread)
{
    (void)h;
    stacks_tell(thread);
}

static bool any_hook(void)
{
    const struct setting *table = settings_table();

    for (size_t i = 0; i < SETTINGS_ROWS; i++) {
        if (!table[i].section && table[i].type == SETTING_HOOK && configfile_object(table[i].name)) {
            return true;
        }
    }
    return false;
}

void pyhooks_plug(struct hooks *h, const struct settings *s)
{
    interp_plug(h);
    h->on_starting = on_starting;
    h->listening = listening;
    h->when_ready = when_ready;
    h->on_reload = on_reload;
    h->pre_exec = pre_exec;
    h->pre_fork = pre_fork;
    h->forked = forked;
    h->child_exit = child_exit;
    h->nworkers_changed = nworkers_changed;
    h->on_exit = on_exit_hook;
    h->post_fork = post_fork;
    h->post_worker_init = post_worker_init;
    h->worker_int = worker_int;
    h->worker_exit = worker_exit;
    h->sources = sources;
    h->stacks = stacks;
    if ((any_hook() || pylog_wanted(s)) && pyhooks_need_standins(s) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "The stand-ins for server hooks could not be made");
    }
    if (!pylog_wanted(s) && make_loggers(s) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "The logger gunicorn.error could not be made");
    }
    if (s->reload && make_sources(s) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "There is no way to know which files to watch");
    }
}

/* Around requests */

static int wrap(PyObject **out, const char *name)
{
    PyObject *hook = configfile_object(name);

    *out = NULL;
    if (!hook) {
        return 0;
    }
    PyObject *caller = standin(name);
    if (caller) {
        *out = PyObject_CallFunctionObjArgs(caller, hook, NULL);
        Py_DECREF(caller);
    }
    if (!*out && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_RuntimeError, "there are no stand-ins to call it with");
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

PyObject *pyhooks_before_request(const struct pyhooks_around *a, PyObject *env)
{
    return PyObject_CallFunctionObjArgs(a->pre, env, NULL);
}

void pyhooks_after_request(const struct pyhooks_around *a, PyObject *args)
{
    PyObject *r = args ? PyObject_CallObject(a->post, args) : NULL;

    if (!r) {
        pyerror_log(LOG_LEVEL_ERROR, "Exception in post_request hook");
    }
    Py_XDECREF(r);
}

/* interp.c - the interpreter starts and stops, and is told of forks. */
#include "python/interp.h"

#include <Python.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "python/forks.h"
#include "python/gil.h"
#include "python/pyerror.h"
#include "python/stacks.h"
#include "python/venv.h"
#include "server/base/buf.h"
#include "server/base/cwd.h"
#include "server/process/hooks.h"

/* To one Python, whose path was compiled in: not so when libpython is found at the start (libpython.h). */
#define BOUND (CWSGI_PYTHON_EXECUTABLE[0] != '\0')

static int fail_with_exception(struct buf *error)
{
    char text[512];

    pyerror_text(text, sizeof(text));
    buf_puts(error, text);
    return -1;
}

static void on_no_signal(int signum)
{
    (void)signum;
}

/* Python takes SIGINT when `_signal` is first imported, even though we asked it not to: unless it finds a handler there
 * already, which it then leaves to its owner. But then signal.getsignal(SIGINT) is None, which nobody can put back. */
static int keep_sigint(void)
{
    struct sigaction ours, other = {.sa_handler = on_no_signal};

    if (sigaction(SIGINT, &other, &ours) < 0) {
        return -1;
    }
    PyObject *module = PyImport_ImportModule("_signal");
    PyObject *before = module ? PyObject_CallMethod(module, "signal", "ii", SIGINT, 0 /* SIG_DFL */) : NULL;
    sigaction(SIGINT, &ours, NULL);
    Py_XDECREF(before);
    Py_XDECREF(module);
    return before ? 0 : -1;
}

/* Two builds of one version mostly fit together; where they do not, the user should know where to look. */
static void warn_of_another_build(void)
{
    PyObject *base = PySys_GetObject("_base_executable"); /* borrowed */
    const char *text = base && PyUnicode_Check(base) ? PyUnicode_AsUTF8(base) : NULL;
    char *theirs = text ? realpath(text, NULL) : NULL;
    char *ours = realpath(CWSGI_PYTHON_EXECUTABLE, NULL);

    if (theirs && ours && strcmp(theirs, ours) != 0) {
        log_warning("This environment belongs to %s, another build of Python %d.%d than %s, which this cwsgi is built "
                    "with: compiled modules may fail to load; pip install cwsgi into the environment avoids that",
                    theirs, PY_MAJOR_VERSION, PY_MINOR_VERSION, ours);
    }
    PyErr_Clear();
    free(theirs);
    free(ours);
}

/* The standard library is the one of the Python that made the venv; of the same version, we have seen to that. But what
 * lies in files for one build is built into another, and then neither has it: `math` is such a module. */
static int check_library(const struct venv *venv, struct buf *error)
{
    PyObject *module = PyImport_ImportModule("math");

    if (!module && BOUND) {
        PyErr_Clear();
        buf_printf(error,
                   "%s is another build of Python %d.%d than %s, which this cwsgi is built with, and its standard "
                   "library does not suit us: install cwsgi into that environment (%s -m pip install cwsgi)",
                   venv->python, PY_MAJOR_VERSION, PY_MINOR_VERSION, CWSGI_PYTHON_EXECUTABLE, venv->python);
        return -1;
    }
    if (!module) {
        return fail_with_exception(error);
    }
    Py_DECREF(module);
    if (BOUND) {
        warn_of_another_build();
    }
    return 0;
}

/* What the interpreter would do if it installed handlers: writing to a closed pipe, or past a limit on file size, is
 * an exception and not the end of the process. */
static void ignore_write_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

int interp_start(const struct venv *venv, int argc, char **argv, struct buf *error)
{
    PyConfig config;

    /* As `python` would start: environment variables, locale, site. Only signals and the command line are ours. */
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    config.install_signal_handlers = 0;

    /* getpath looks for pyvenv.cfg beside and above this path; it becomes sys.executable. */
    PyStatus status = PyConfig_SetBytesString(&config, &config.program_name, venv->python);
    if (!PyStatus_Exception(status)) {
        status = PyConfig_SetBytesArgv(&config, argc, argv);
    }
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        buf_printf(error, "Python %s could not be started as %s: %s", PY_VERSION, venv->python,
                   status.err_msg ? status.err_msg : "unknown reason");
        return -1;
    }

    ignore_write_signals();
    if (keep_sigint() < 0) {
        return fail_with_exception(error);
    }
    return check_library(venv, error);
}

/* gc.name(). 0, or -1 with an exception. */
static int call_gc(const char *name)
{
    PyObject *gc = PyImport_ImportModule("gc");
    PyObject *r = gc ? PyObject_CallMethod(gc, name, NULL) : NULL;

    Py_XDECREF(r);
    Py_XDECREF(gc);
    return r ? 0 : -1;
}

void interp_stop(void)
{
    if (!Py_IsInitialized()) {
        return;
    }
    if (!PyGILState_Check()) {
        gil_acquire();
    }
    stacks_disable();
    if (call_gc("unfreeze") < 0) {
        PyErr_Clear(); /* no memory: less is freed */
    }
    Py_FinalizeEx(); /* files that cannot be flushed: nobody is left to tell */
}

int interp_setenv(const char *name, const char *value)
{
    int r = -1;
    PyObject *os = PyImport_ImportModule("os");
    PyObject *env = os ? PyObject_GetAttrString(os, "environ") : NULL;
    PyObject *key = PyUnicode_DecodeFSDefault(name);
    PyObject *text = PyUnicode_DecodeFSDefault(value);

    if (env && key && text) {
        r = PyObject_SetItem(env, key, text); /* calls putenv itself */
    }
    if (r < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "The environment variable %s cannot be set", name);
    }
    Py_XDECREF(text);
    Py_XDECREF(key);
    Py_XDECREF(env);
    Py_XDECREF(os);
    return r;
}

void interp_flush(void)
{
    static const char *const names[] = {"stdout", "stderr"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        PyObject *stream = PySys_GetObject(names[i]);
        if (stream && stream != Py_None) {
            PyObject *r = PyObject_CallMethod(stream, "flush", NULL);
            Py_XDECREF(r);
            PyErr_Clear();
        }
    }
}

void interp_freeze(void)
{
    if (call_gc("collect") < 0 || call_gc("freeze") < 0) {
        pyerror_log(LOG_LEVEL_WARNING, "The garbage collector can't be told what stays");
    }
}

static void before_fork(struct hooks *h)
{
    (void)h;
    interp_flush();
    PyOS_BeforeFork();
}

static void after_fork_parent(struct hooks *h)
{
    (void)h;
    PyOS_AfterFork_Parent();
}

static void after_fork_child(struct hooks *h)
{
    (void)h;
    PyOS_AfterFork_Child();
    forks_watch();
}

void interp_plug(struct hooks *h)
{
    h->before_fork = before_fork;
    h->after_fork_parent = after_fork_parent;
    h->after_fork_child = after_fork_child;
}

/* os.path.normpath(os.path.join(base, path)) */
static PyObject *absolute(const char *base, const char *path)
{
    PyObject *normal = NULL;
    PyObject *module = PyImport_ImportModule("os.path");
    PyObject *joined = NULL;
    PyObject *a = PyUnicode_DecodeFSDefault(base);
    PyObject *b = PyUnicode_DecodeFSDefault(path);

    if (module && a && b) {
        joined = PyObject_CallMethod(module, "join", "OO", a, b);
    }
    if (joined) {
        normal = PyObject_CallMethod(module, "normpath", "O", joined);
    }
    Py_XDECREF(joined);
    Py_XDECREF(a);
    Py_XDECREF(b);
    Py_XDECREF(module);
    return normal;
}

static int put_in_front(PyObject *entry)
{
    PyObject *path = PySys_GetObject("path"); /* borrowed */

    if (!path || !PyList_Check(path)) {
        PyErr_SetString(PyExc_RuntimeError, "sys.path is not a list");
        return -1;
    }
    int there = PySequence_Contains(path, entry);
    if (there != 0) {
        return there < 0 ? -1 : 0;
    }
    return PyList_Insert(path, 0, entry);
}

static int enter(PyObject *dir, struct buf *error)
{
    PyObject *bytes = PyUnicode_EncodeFSDefault(dir);

    if (!bytes) {
        return fail_with_exception(error);
    }
    int r = chdir(PyBytes_AS_STRING(bytes));
    if (r < 0) {
        buf_printf(error, "cannot enter %s: %s", PyBytes_AS_STRING(bytes), strerror(errno));
    }
    Py_DECREF(bytes);
    return r;
}

static int put_each_in_front(const char *base, const char *list)
{
    char *copy = strdup(list);
    char *rest = copy;
    int r = copy ? 0 : -1;

    if (!copy) {
        PyErr_NoMemory();
    }
    for (const char *one = strsep(&rest, ","); one && r == 0; one = strsep(&rest, ",")) {
        if (one[0] == '\0') {
            continue;
        }
        PyObject *entry = absolute(base, one);
        r = entry ? put_in_front(entry) : -1;
        Py_XDECREF(entry);
    }
    free(copy);
    return r;
}

int interp_set_paths(const char *dir, const char *pythonpath, struct buf *error)
{
    int r = -1;
    PyObject *path = NULL;
    char *base = NULL;
    char *start = cwd_logical();

    if (!start) {
        buf_printf(error, "the current directory cannot be found: %s", strerror(errno));
        return -1;
    }
    path = absolute(start, dir ? dir : "");
    if (!path) {
        fail_with_exception(error);
        goto done;
    }
    if (enter(path, error) < 0) {
        goto done;
    }
    if (put_in_front(path) < 0) {
        fail_with_exception(error);
        goto done;
    }
    if (pythonpath) {
        base = cwd_logical();
        if (!base) {
            PyErr_SetFromErrno(PyExc_OSError);
        }
        if (!base || put_each_in_front(base, pythonpath) < 0) {
            fail_with_exception(error);
            goto done;
        }
    }
    r = 0;

done:
    free(base);
    free(start);
    Py_XDECREF(path);
    return r;
}

/* stacks.c - where Python code stands, as text in the server log. */
#include "python/stacks.h"

#include <Python.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "python/frames.h"
#include "python/pyerror.h"
#include "server/base/log.h"

#define PATIENCE_S 1 /* a thread that runs Python code lets others have the interpreter every 5 ms */

/* One question to the interpreter, shared by who asks and who waits for the answer; the last of them frees it. */
struct question {
    pthread_t first;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool answered, late;
    int holders;
};

/* What the signal handler needs; there is no other way to reach it. */
static volatile sig_atomic_t stacks_fd, woken_fd;

/* faulthandler calls it when it is through. */
static void on_written(int sig)
{
    (void)sig;
    int saved = errno;
    if (write(stacks_fd, "", 1) < 0 || write(woken_fd, "s", 1) < 0) {
        /* The master is gone, or has news already. */
    }
    errno = saved;
}

void stacks_enable(int fd, int tell_fd)
{
    PyObject *faulthandler = PyImport_ImportModule("faulthandler");
    PyObject *r = NULL;

    stacks_fd = fd;
    woken_fd = tell_fd;
    if (tell_fd >= 0) {
        struct sigaction action = {.sa_handler = on_written, .sa_flags = SA_RESTART};
        sigaction(SIGURG, &action, NULL);
    }
    if (faulthandler) {
        r = PyObject_CallMethod(faulthandler, "register", "iiOO", SIGURG, fd, Py_True,
                                tell_fd >= 0 ? Py_True : Py_False);
    }

    if (!r) {
        pyerror_log(LOG_LEVEL_WARNING, "Python's stacks cannot be shown when a request takes too long");
    }
    Py_XDECREF(r);
    Py_XDECREF(faulthandler);
}

void stacks_disable(void)
{
    signal(SIGURG, SIG_IGN);
}

/* Asking */

static PyObject *thread_id(pthread_t thread)
{
    return PyLong_FromUnsignedLong((unsigned long)thread); /* as threading.get_ident() */
}

/* Runs frames.py. The text, or NULL with an exception. */
static PyObject *make_text(pthread_t first)
{
    PyObject *text = NULL;
    PyObject *names = PyDict_New();
    PyObject *ident = thread_id(first);

    if (names && ident && PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) == 0 &&
        PyDict_SetItemString(names, "first", ident) == 0) {
        PyObject *r = PyRun_String(frames_source, Py_file_input, names, names);
        text = r ? PyDict_GetItemString(names, "text") : NULL; /* borrowed */
        Py_XINCREF(text);
        Py_XDECREF(r);
    }
    Py_XDECREF(ident);
    Py_XDECREF(names);
    return text;
}

static void tell(PyObject *text)
{
    PyObject *bytes = text ? PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace") : NULL;

    if (bytes) {
        log_text(LOG_LEVEL_ERROR, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
        Py_DECREF(bytes);
    } else {
        pyerror_log(LOG_LEVEL_ERROR, "The Python stacks of worker (pid:%ld) cannot be made", (long)getpid());
    }
}

static void let_go(struct question *q)
{
    pthread_mutex_lock(&q->lock);
    bool last = --q->holders == 0;
    pthread_mutex_unlock(&q->lock);
    if (last) {
        pthread_cond_destroy(&q->changed);
        pthread_mutex_destroy(&q->lock);
        free(q);
    }
}

/* True when nobody waits for it any more. */
static bool is_late(struct question *q, bool answered)
{
    pthread_mutex_lock(&q->lock);
    bool late = q->late;
    q->answered = answered && !late;
    pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->lock);
    return late;
}

static void on_thread_ended(void *question)
{
    let_go(question);
}

static void *ask(void *arg)
{
    struct question *q = arg;
    PyGILState_STATE state;

    pthread_cleanup_push(on_thread_ended, q);
    state = PyGILState_Ensure(); /* perhaps for ever; at its end, the interpreter ends threads that wait here */
    pthread_cleanup_pop(0);
    if (!is_late(q, false)) {
        PyObject *text = make_text(q->first);
        if (!is_late(q, true)) {
            tell(text);
        }
        Py_XDECREF(text);
        PyErr_Clear();
    }
    PyGILState_Release(state);
    let_go(q);
    return NULL;
}

/* Waiting for the answer */

static void show_last_known(pthread_t first)
{
    struct sigaction now;

    if (sigaction(SIGURG, NULL, &now) < 0 || now.sa_handler == SIG_IGN || now.sa_handler == SIG_DFL) {
        return; /* this process is ending, and so is the call */
    }
    log_error("The interpreter of worker (pid:%ld) did not answer within %d s: a thread keeps its lock. Last seen:",
              (long)getpid(), PATIENCE_S);
    int r = pthread_kill(first, SIGURG);
    if (r != 0) {
        log_error("Python's stacks cannot be shown: %s", strerror(r));
    }
}

static bool wait_for_answer(struct question *q)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&q->lock);
    for (int r = 0; !q->answered && r == 0;) {
        r = pthread_cond_timedwait(&q->changed, &q->lock, &until);
    }
    q->late = !q->answered;
    bool answered = q->answered;
    pthread_mutex_unlock(&q->lock);
    return answered;
}

/* Signals stay with the threads that the application knows. 0 or -errno. */
static int start_thread(void *(*run)(void *), struct question *q)
{
    pthread_t thread;
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    q->holders++;
    int r = -pthread_create(&thread, NULL, run, q);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r < 0) {
        q->holders--;
    } else {
        pthread_detach(thread);
    }
    return r;
}

static void *report(void *arg)
{
    struct question *q = arg;
    pthread_t first = q->first;

    if (start_thread(ask, q) < 0 || !wait_for_answer(q)) {
        show_last_known(first);
    }
    let_go(q);
    return NULL;
}

static struct question *create(pthread_t first)
{
    pthread_condattr_t monotonic;
    struct question *q = calloc(1, sizeof(*q));

    if (q) {
        q->first = first;
        pthread_mutex_init(&q->lock, NULL); /* none of these can fail on Linux */
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&q->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
    }
    return q;
}

void stacks_tell(pthread_t first)
{
    struct question *q = create(first);
    int r = q ? start_thread(report, q) : -ENOMEM;

    if (r < 0) {
        log_error("No thread can be started to ask for the Python stacks: %s", strerror(-r));
        free(q);
    }
}

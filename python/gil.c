/* gil.c - threads take the interpreter's lock and give it up. */
#include "python/gil.h"

#include <Python.h>
#include <pthread.h>

#define NAME_SIZE 16 /* the kernel's limit for a thread's name, with its NUL */

/* What threading.current_thread() is of such a thread: its name, which log lines show, is ours instead of "Dummy-1";
 * and it is no daemon, as threads that it starts would be daemons too, for which the end of the worker does not wait.
 * There is no other way to say that of a thread that threading has not started. */
static void introduce(void)
{
    char name[NAME_SIZE];

    if (pthread_getname_np(pthread_self(), name, sizeof(name)) != 0) {
        return;
    }
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *thread = threading ? PyObject_CallMethod(threading, "current_thread", NULL) : NULL;
    PyObject *text = thread ? PyUnicode_DecodeFSDefault(name) : NULL;
    if (!text || PyObject_SetAttrString(thread, "name", text) < 0 ||
        PyObject_SetAttrString(thread, "_daemonic", Py_False) < 0) {
        PyErr_Clear(); /* the application runs all the same */
    }
    Py_XDECREF(text);
    Py_XDECREF(thread);
    Py_XDECREF(threading);
}

void gil_acquire(void)
{
    PyThreadState *mine = PyGILState_GetThisThreadState();

    if (mine) {
        PyEval_RestoreThread(mine);
        return;
    }
    mine = PyThreadState_New(PyInterpreterState_Main());
    if (!mine) {
        Py_FatalError("no memory for a thread");
    }
    PyEval_RestoreThread(mine);
    introduce();
}

void gil_release(void)
{
    (void)PyEval_SaveThread(); /* the thread keeps its state: gil_acquire finds it again */
}

void gil_forget(void)
{
    PyThreadState *mine = PyGILState_GetThisThreadState();

    if (mine) {
        PyEval_RestoreThread(mine);
        PyThreadState_Clear(mine); /* may run Python code: what was local to the thread is dropped */
        PyThreadState_DeleteCurrent();
    }
}

#include "python/gil.h"

#include <Python.h>

void gil_release(void)
{
    (void)PyEval_SaveThread(); /* the thread keeps its state: gil_acquire finds it again */
}

void gil_acquire(void)
{
    PyEval_RestoreThread(PyGILState_GetThisThreadState());
}

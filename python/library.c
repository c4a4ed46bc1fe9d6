#include "python/library.h"

#include <Python.h>

#include "python/pyerror.h"
#include "python/pyhooks.h"

#define MODULE "_cwsgi_library"

void library_first(void)
{
    if (pyhooks_make_module(MODULE, library_source, PyDict_New()) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "Files of the application may hide the standard library");
    }
}

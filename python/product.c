/* product.c - what we say that we are: gunicorn, to who asks for it, and cwsgi. */
#include "python/product.h"

#include <Python.h>
#include <string.h>

#include "python/pyerror.h"
#include "python/pyhooks.h"
#include "server/base/buf.h"
#include "server/config/settings.h"

#define MODULE "_cwsgi_product"

void product_appear(void)
{
    PyObject *values = Py_BuildValue("{ssss}", "version", GUNICORN_VERSION, "ours", "cwsgi/" CWSGI_VERSION);

    if (pyhooks_make_module(MODULE, product_source, values) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "Applications that look for gunicorn do not find it");
    }
}

static bool is_stand_in(void)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), "gunicorn"); /* borrowed */
    return module && !PyObject_HasAttrString(module, "__file__");
}

bool product_is_missed(void)
{
    PyObject *type, *value, *tb;

    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    PyObject *name =
        PyErr_GivenExceptionMatches(type, PyExc_ImportError) ? PyObject_GetAttrString(value, "name") : NULL;
    const char *text = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    bool part = text && (strcmp(text, "gunicorn") == 0 || strncmp(text, "gunicorn.", strlen("gunicorn.")) == 0);
    bool r = part && is_stand_in();
    PyErr_Clear();
    Py_XDECREF(name);
    PyErr_Restore(type, value, tb);
    return r;
}

int product_settle(struct settings *s, struct buf *error)
{
    const char *field, *software;
    PyObject *module = PyImport_ImportModule(MODULE);
    PyObject *values = module ? PyObject_CallMethod(module, "settle", NULL) : NULL;
    int r = values && PyArg_ParseTuple(values, "yy", &field, &software) ? 0 : -1;

    if (r < 0) {
        char why[512];
        pyerror_text(why, sizeof(why));
        buf_puts(error, why);
    } else {
        s->server_field = strdup(field);
        s->server_software = strdup(software);
        r = s->server_field && s->server_software ? 0 : -1;
    }
    Py_XDECREF(values);
    Py_XDECREF(module);
    return r;
}

/* variables.c - the variables of environ that the access log shows, as the application has left them. */
#include "wsgi/variables.h"

#include "server/base/arena.h"
#include "server/base/str.h"
#include "server/http/exchange.h"

/* The value of the key of that name, however it is spelt. A new reference, or NULL. */
static PyObject *find(PyObject *dict, struct str name)
{
    PyObject *key, *value;
    Py_ssize_t at = 0, len;
    while (PyDict_Next(dict, &at, &key, &value)) {
        const char *text = PyUnicode_Check(key) ? PyUnicode_AsUTF8AndSize(key, &len) : NULL;
        if (text && str_ieq((struct str){text, (size_t)len}, name)) {
            Py_INCREF(value);
            return value;
        }
        PyErr_Clear(); /* a key that has no spelling in UTF-8 */
    }
    return NULL;
}

static struct str text_of(struct arena *arena, PyObject *value)
{
    Py_ssize_t len = 0;
    PyObject *string = PyObject_Str(value);
    const char *text = string ? PyUnicode_AsUTF8AndSize(string, &len) : NULL;
    char *copy = text ? arena_dup(arena, text, (size_t)len) : NULL;
    Py_XDECREF(string);
    PyErr_Clear();
    return copy ? (struct str){copy, (size_t)len} : (struct str){0};
}

void variables_keep(struct exchange *x, PyObject *dict)
{
    const struct wanted *w = x->wanted;
    struct str *values = arena_alloc(&x->kept, w->n * sizeof(*values));
    for (size_t i = 0; values && i < w->n; i++) {
        PyObject *value = find(dict, w->names[i]);
        values[i] = value ? text_of(&x->kept, value) : (struct str){0};
        Py_XDECREF(value);
    }
    x->variables = values;
}

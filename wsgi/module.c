/* module.c - the built-in _cwsgi module: heap types and their state. */
#include "wsgi/module.h"

#include "wsgi/errors.h"
#include "wsgi/file_wrapper.h"
#include "wsgi/input.h"
#include "wsgi/start_response.h"
#include "wsgi/wsgi.h"

struct module_state *module_state(PyObject *module)
{
    return PyModule_GetState(module);
}

static int make_type(PyObject *module, PyTypeObject **type, PyType_Spec *spec)
{
    *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    return *type ? 0 : -1;
}

static int exec(PyObject *module)
{
    struct module_state *s = module_state(module);

    if (make_type(module, &s->start_response, &start_response_spec) < 0 ||
        make_type(module, &s->write, &start_response_write_spec) < 0 ||
        make_type(module, &s->hints, &start_response_hints_spec) < 0 || make_type(module, &s->input, &input_spec) < 0 ||
        make_type(module, &s->errors, &errors_spec) < 0 ||
        make_type(module, &s->file_wrapper, &file_wrapper_spec) < 0) {
        return -1;
    }
    return PyModule_AddType(module, s->file_wrapper);
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *s = module_state(module);

    Py_VISIT(s->start_response);
    Py_VISIT(s->write);
    Py_VISIT(s->hints);
    Py_VISIT(s->input);
    Py_VISIT(s->errors);
    Py_VISIT(s->file_wrapper);
    return 0;
}

static int clear(PyObject *module)
{
    struct module_state *s = module_state(module);

    Py_CLEAR(s->start_response);
    Py_CLEAR(s->write);
    Py_CLEAR(s->hints);
    Py_CLEAR(s->input);
    Py_CLEAR(s->errors);
    Py_CLEAR(s->file_wrapper);
    return 0;
}

static void release(void *module)
{
    clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, MODULE_FUNCTION(exec)},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_cwsgi",
    .m_doc = "The WSGI side of the server that runs this interpreter.",
    .m_size = sizeof(struct module_state),
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC PyInit__cwsgi(void)
{
    return PyModuleDef_Init(&definition);
}

int wsgi_register(void)
{
    return PyImport_AppendInittab("_cwsgi", PyInit__cwsgi);
}

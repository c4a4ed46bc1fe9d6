/* load.c - "package.module:app" to a callable. */
#include "python/load.h"

#include <Python.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "python/product.h"
#include "python/pyerror.h"

/* MODULE:EXPRESSION, the expression read. */
struct address {
    PyObject *module; /* owned: "package.module" */
    PyObject *text;   /* owned: what stands behind the colon */
    PyObject *name;   /* owned: the attribute */
    PyObject *args;   /* owned: tuple of literals; NULL when it is no call */
    PyObject *kwargs; /* owned: dict of literals; NULL when it is no call */
};

static void address_finish(struct address *a)
{
    Py_XDECREF(a->module);
    Py_XDECREF(a->text);
    Py_XDECREF(a->name);
    Py_XDECREF(a->args);
    Py_XDECREF(a->kwargs);
}

/* Says in one line why there is no application; the exception, if one is set, was the cause and is dropped. */
static void refuse(const char *format, PyObject *text)
{
    PyErr_Clear();
    PyObject *line = PyUnicode_FromFormat(format, text);
    const char *utf8 = line ? PyUnicode_AsUTF8(line) : NULL;
    log_error("%s", utf8 ? utf8 : "the application's name cannot be read");
    PyErr_Clear();
    Py_XDECREF(line);
}

/* True if `object` is an instance of the class `name` of a module. */
static bool is_a(PyObject *object, PyObject *module, const char *name)
{
    PyObject *class = PyObject_GetAttrString(module, name);
    int r = class ? PyObject_IsInstance(object, class) : -1;

    Py_XDECREF(class);
    PyErr_Clear();
    return r == 1;
}

static PyObject *literal(PyObject *ast, PyObject *node)
{
    return PyObject_CallMethod(ast, "literal_eval", "O", node);
}

static PyObject *literal_args(PyObject *ast, PyObject *call)
{
    PyObject *tuple = NULL;
    PyObject *nodes = PyObject_GetAttrString(call, "args");
    PyObject *list = nodes ? PyList_New(0) : NULL;

    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(nodes); i++) {
        PyObject *value = literal(ast, PyList_GET_ITEM(nodes, i));
        if (!value || PyList_Append(list, value) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(value);
    }
    if (list) {
        tuple = PyList_AsTuple(list);
        Py_DECREF(list);
    }
    Py_XDECREF(nodes);
    return tuple;
}

static PyObject *literal_kwargs(PyObject *ast, PyObject *call)
{
    PyObject *nodes = PyObject_GetAttrString(call, "keywords");
    PyObject *dict = nodes ? PyDict_New() : NULL;

    for (Py_ssize_t i = 0; dict && i < PyList_GET_SIZE(nodes); i++) {
        PyObject *node = PyList_GET_ITEM(nodes, i);
        PyObject *key = PyObject_GetAttrString(node, "arg");
        PyObject *expression = key ? PyObject_GetAttrString(node, "value") : NULL;
        PyObject *value = expression ? literal(ast, expression) : NULL;
        if (value && key == Py_None) {
            PyErr_SetString(PyExc_ValueError, "** is no literal");
            Py_CLEAR(value);
        }
        if (!value || PyDict_SetItem(dict, key, value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(value);
        Py_XDECREF(expression);
        Py_XDECREF(key);
    }
    Py_XDECREF(nodes);
    return dict;
}

/* A call's arguments; false when one of them is no literal. */
static bool read_call(struct address *a, PyObject *ast, PyObject *call)
{
    PyObject *function = PyObject_GetAttrString(call, "func");

    if (!function || !is_a(function, ast, "Name")) {
        refuse("Function reference must be a simple name: %R", a->text);
        Py_XDECREF(function);
        return false;
    }
    a->name = PyObject_GetAttrString(function, "id");
    a->args = literal_args(ast, call);
    a->kwargs = a->args ? literal_kwargs(ast, call) : NULL;
    Py_DECREF(function);
    if (!a->kwargs) {
        refuse("Failed to parse arguments as literal values: %R", a->text);
        return false;
    }
    return a->name != NULL;
}

static bool read_expression(struct address *a)
{
    if (PyUnicode_IsIdentifier(a->text) == 1) { /* nearly always: nothing to parse */
        Py_INCREF(a->text);
        a->name = a->text;
        return true;
    }
    bool ok = false;
    PyObject *body = NULL;
    PyObject *ast = PyImport_ImportModule("ast");
    PyObject *tree = ast ? PyObject_CallMethod(ast, "parse", "Oss", a->text, "<application>", "eval") : NULL;

    if (tree) {
        body = PyObject_GetAttrString(tree, "body");
    }
    if (body && is_a(body, ast, "Name")) {
        a->name = PyObject_GetAttrString(body, "id");
        ok = a->name != NULL;
    } else if (body && is_a(body, ast, "Call")) {
        ok = read_call(a, ast, body);
    } else {
        refuse("Failed to parse %R as an attribute name or function call.", a->text);
    }
    PyErr_Clear();
    Py_XDECREF(body);
    Py_XDECREF(tree);
    Py_XDECREF(ast);
    return ok;
}

static int split(struct address *a, const char *address)
{
    const char *colon = strchr(address, ':');
    size_t len = colon ? (size_t)(colon - address) : strlen(address);

    a->module = PyUnicode_DecodeFSDefaultAndSize(address, (Py_ssize_t)len);
    a->text = PyUnicode_DecodeFSDefault(colon ? colon + 1 : "application");
    return a->module && a->text ? 0 : -1;
}

/* When importing failed */

/* "hello.py" where "hello" was meant, and the file is there: gunicorn's words, which people search for. */
static bool hint_of_file_name(const struct address *a)
{
    PyObject *bytes = PyUnicode_EncodeFSDefault(a->module);
    const char *name = bytes ? PyBytes_AS_STRING(bytes) : "";
    size_t len = strlen(name);
    bool hint = len > 3 && strcmp(name + len - 3, ".py") == 0 && access(name, F_OK) == 0;

    if (hint) {
        const char *attribute = PyUnicode_AsUTF8(a->text);
        log_error("Failed to find application, did you mean '%.*s:%s'?", (int)(len - 3), name,
                  attribute ? attribute : "application");
    }
    PyErr_Clear();
    Py_XDECREF(bytes);
    return hint;
}

static void copy_text(PyObject *object, const char *attribute, char *out, size_t size)
{
    PyObject *value = PyObject_GetAttrString(object, attribute);
    PyObject *text = value && value != Py_None ? PyObject_Str(value) : NULL;
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;

    snprintf(out, size, "%s", utf8 ? utf8 : "");
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(value);
}

static void advise_on_missing_module(const struct address *a, const char *missing)
{
    const char *wanted = PyUnicode_AsUTF8(a->module);
    size_t len = strlen(missing);

    if (wanted && strncmp(wanted, missing, len) == 0 && (wanted[len] == '\0' || wanted[len] == '.')) {
        char *cwd = getcwd(NULL, 0);
        log_error("There is no module '%s' in %s: start cwsgi in the application's directory, or name it with --chdir",
                  missing, cwd ? cwd : "the current directory");
        free(cwd);
    } else {
        PyObject *value = PySys_GetObject("executable"); /* borrowed */
        const char *python = value && PyUnicode_Check(value) ? PyUnicode_AsUTF8(value) : NULL;
        log_error("The application needs the module '%s', which is not installed here: try %s -m pip install %.*s",
                  missing, python ? python : "python", (int)strcspn(missing, "."), missing);
    }
    PyErr_Clear();
}

/* Logs the traceback, then one line that says what to do. */
static void explain(const struct address *a, const char *address)
{
    char name[512] = "", file[4096] = "", line[32] = "";
    PyObject *type, *value, *tb;

    bool needs_gunicorn = product_is_missed();
    PyErr_Fetch(&type, &value, &tb);
    PyErr_NormalizeException(&type, &value, &tb);
    bool import = PyErr_GivenExceptionMatches(type, PyExc_ImportError);
    bool missing = PyErr_GivenExceptionMatches(type, PyExc_ModuleNotFoundError);
    bool syntax = PyErr_GivenExceptionMatches(type, PyExc_SyntaxError);
    if (value && (missing || needs_gunicorn)) {
        copy_text(value, "name", name, sizeof(name));
    }
    if (value && syntax) {
        copy_text(value, "filename", file, sizeof(file));
        copy_text(value, "lineno", line, sizeof(line));
    }
    PyErr_Restore(type, value, tb);

    pyerror_log(LOG_LEVEL_ERROR, "Error while loading the application:");
    if (import && hint_of_file_name(a)) {
        return;
    }
    if (name[0]) {
        advise_on_missing_module(a, name);
    } else if (syntax) {
        log_error("The application cannot be loaded: %s, line %s, is not valid Python", file, line);
    } else {
        log_error("The application %s cannot be loaded: the traceback above names the line", address);
    }
}

/* From address to callable */

/* True when the call itself did not fit the function's parameters: the traceback then ends in our own call. */
static bool is_wrong_call(void)
{
    PyObject *type, *value, *tb;

    PyErr_Fetch(&type, &value, &tb);
    bool wrong = !tb && PyErr_GivenExceptionMatches(type, PyExc_TypeError);
    PyErr_Restore(type, value, tb);
    return wrong;
}

static enum load_result call_factory(const struct address *a, const char *address, PyObject **app)
{
    PyObject *made = PyObject_Call(*app, a->args, a->kwargs);

    Py_SETREF(*app, made);
    if (made) {
        return LOAD_OK;
    }
    if (is_wrong_call()) {
        char text[512];
        pyerror_text(text, sizeof(text));
        log_error("%s", text);
        return LOAD_NOT_AN_APP;
    }
    explain(a, address);
    return LOAD_IMPORT_FAILED;
}

static enum load_result find(const struct address *a, const char *address, PyObject *module, PyObject **app)
{
    *app = PyObject_GetAttr(module, a->name);
    if (!*app) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            explain(a, address);
            return LOAD_IMPORT_FAILED;
        }
        PyErr_Clear();
        log_error("Failed to find attribute '%s' in '%s'.", PyUnicode_AsUTF8(a->name), PyUnicode_AsUTF8(a->module));
        PyErr_Clear();
        return LOAD_NOT_AN_APP;
    }
    if (a->args) {
        enum load_result r = call_factory(a, address, app);
        if (r != LOAD_OK) {
            return r;
        }
    }
    if (*app == Py_None) {
        refuse("Failed to find application object: %R", a->text);
        return LOAD_NOT_AN_APP;
    }
    if (!PyCallable_Check(*app)) {
        log_error("Application object must be callable.");
        return LOAD_NOT_AN_APP;
    }
    return LOAD_OK;
}

enum load_result load_app(const char *address, PyObject **app)
{
    struct address a = {0};
    enum load_result r = LOAD_IMPORT_FAILED;
    PyObject *module = NULL;

    *app = NULL;
    if (split(&a, address) < 0) {
        pyerror_log(LOG_LEVEL_ERROR, "The application's name cannot be read");
        goto done;
    }
    module = PyImport_Import(a.module);
    if (module) { /* PyImport_Import gives the named module itself, as importlib.import_module does */
        if (!read_expression(&a)) {
            r = LOAD_NOT_AN_APP;
            goto done;
        }
        r = find(&a, address, module, app);
    } else {
        explain(&a, address);
    }

done:
    if (r != LOAD_OK) {
        Py_CLEAR(*app);
    }
    Py_XDECREF(module);
    address_finish(&a);
    return r;
}

/* environ.c - a request as an environ dict. */
#include "wsgi/environ.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/ascii.h"
#include "server/config/settings.h"
#include "server/http/body.h"
#include "server/http/exchange.h"
#include "server/net/clientcert.h"
#include "server/net/peer.h"
#include "wsgi/errors.h"
#include "wsgi/latin1.h"
#include "wsgi/module.h"

/* Keys of our own; the names of headers have theirs by number. */
enum key {
    KEY_REQUEST_METHOD,
    KEY_SCRIPT_NAME,
    KEY_PATH_INFO,
    KEY_QUERY_STRING,
    KEY_RAW_URI,
    KEY_SERVER_PROTOCOL,
    KEY_SERVER_NAME,
    KEY_SERVER_PORT,
    KEY_SERVER_SOFTWARE,
    KEY_REMOTE_ADDR,
    KEY_REMOTE_PORT,
    KEY_PROXY_PROTOCOL,
    KEY_PROXY_ADDR,
    KEY_PROXY_PORT,
    KEY_HTTPS,
    KEY_SSL_PROTOCOL,
    KEY_SSL_CIPHER,
    KEY_VERSION,
    KEY_URL_SCHEME,
    KEY_INPUT,
    KEY_EARLY_HINTS,
    KEY_INPUT_TERMINATED,
    KEY_ERRORS,
    KEY_MULTITHREAD,
    KEY_MULTIPROCESS,
    KEY_RUN_ONCE,
    KEY_FILE_WRAPPER,
    KEY_COUNT
};

static const char *const key_names[KEY_COUNT] = {
    [KEY_REQUEST_METHOD] = "REQUEST_METHOD",
    [KEY_SCRIPT_NAME] = "SCRIPT_NAME",
    [KEY_PATH_INFO] = "PATH_INFO",
    [KEY_QUERY_STRING] = "QUERY_STRING",
    [KEY_RAW_URI] = "RAW_URI",
    [KEY_SERVER_PROTOCOL] = "SERVER_PROTOCOL",
    [KEY_SERVER_NAME] = "SERVER_NAME",
    [KEY_SERVER_PORT] = "SERVER_PORT",
    [KEY_SERVER_SOFTWARE] = "SERVER_SOFTWARE",
    [KEY_REMOTE_ADDR] = "REMOTE_ADDR",
    [KEY_REMOTE_PORT] = "REMOTE_PORT",
    [KEY_PROXY_PROTOCOL] = "PROXY_PROTOCOL",
    [KEY_PROXY_ADDR] = "PROXY_ADDR",
    [KEY_PROXY_PORT] = "PROXY_PORT",
    [KEY_HTTPS] = "HTTPS",
    [KEY_SSL_PROTOCOL] = "SSL_PROTOCOL",
    [KEY_SSL_CIPHER] = "SSL_CIPHER",
    [KEY_VERSION] = "wsgi.version",
    [KEY_URL_SCHEME] = "wsgi.url_scheme",
    [KEY_INPUT] = "wsgi.input",
    [KEY_EARLY_HINTS] = "wsgi.early_hints",
    [KEY_INPUT_TERMINATED] = "wsgi.input_terminated",
    [KEY_ERRORS] = "wsgi.errors",
    [KEY_MULTITHREAD] = "wsgi.multithread",
    [KEY_MULTIPROCESS] = "wsgi.multiprocess",
    [KEY_RUN_ONCE] = "wsgi.run_once",
    [KEY_FILE_WRAPPER] = "wsgi.file_wrapper",
};

static const char *const method_names[] = {"GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"};
#define METHODS (sizeof(method_names) / sizeof(method_names[0]))

#define SSL_CLIENT_VERIFY "SSL_CLIENT_VERIFY" /* Apache: NONE, SUCCESS; who fails gets no connection */

/* Values that come again and again (the same browser, the same host): the last one under each header, if it is short.
 * Comparing is several times cheaper than making and freeing a str. */
#define REMEMBERED_MAX 256

enum text { TEXT_REMOTE_ADDR = HEADER_COUNT, TEXT_SERVER_NAME, TEXT_SSL_PROTOCOL, TEXT_SSL_CIPHER, TEXT_COUNT };

struct environ {
    PyObject *base[2];               /* owned: what all requests share, [1] over TLS */
    PyObject *usual[KEY_COUNT];      /* borrowed: what base holds under keys that a request may leave as they are */
    PyObject *keys[KEY_COUNT];       /* owned, as all below */
    PyObject *headers[HEADER_COUNT]; /* keys of known headers */
    PyObject *last[TEXT_COUNT];      /* last values, see above */
    PyObject *methods[METHODS];
    PyObject *http_10, *http_11;
    PyObject *empty;
    PyObject *port; /* the last SERVER_PORT, and its number */
    unsigned port_number;
    char *script_name; /* its bytes, percent-encoded as in a target */
};

/* What is prepared */

/* Steals the value, which may be NULL with an exception. */
static int put(PyObject *dict, PyObject *key, PyObject *value)
{
    if (!value) {
        return -1;
    }
    int r = PyDict_SetItem(dict, key, value);
    Py_DECREF(value);
    return r;
}

/* The same; what the copy of base holds already need not be set: most requests are GET by HTTP/1.1. */
static int put_unless_usual(struct environ *e, PyObject *dict, enum key key, PyObject *value)
{
    if (value && value == e->usual[key]) {
        Py_DECREF(value);
        return 0;
    }
    return put(dict, e->keys[key], value);
}

/* The same, and `value` is the usual one from now on: what changes with the address that the client has asked. */
static int put_and_learn(struct environ *e, PyObject *dict, enum key key, PyObject *value)
{
#ifndef Py_GIL_DISABLED
    if (value && value != e->usual[key]) {
        e->usual[key] = NULL;
        if (PyDict_SetItem(e->base[0], e->keys[key], value) < 0 ||
            PyDict_SetItem(e->base[1], e->keys[key], value) < 0) {
            Py_DECREF(value);
            return -1;
        }
        int r = put(dict, e->keys[key], value);
        e->usual[key] = value; /* base has it */
        return r;
    }
#endif
    return put_unless_usual(e, dict, key, value);
}

static int put_all(struct environ *e, PyObject *dict, const struct settings *s, const struct module_state *types,
                   bool https)
{
    PyObject **k = e->keys;
    bool ok = put(dict, k[KEY_SERVER_SOFTWARE], latin1_new(str_of(s->server_software))) == 0 &&
              put(dict, k[KEY_VERSION], Py_BuildValue("(ii)", 1, 0)) == 0 &&
              put(dict, k[KEY_URL_SCHEME], PyUnicode_InternFromString(https ? "https" : "http")) == 0 &&
              put(dict, k[KEY_ERRORS], errors_new(types)) == 0 &&
              put(dict, k[KEY_MULTITHREAD], PyBool_FromLong(s->threads > 1)) == 0 &&
              put(dict, k[KEY_MULTIPROCESS], PyBool_FromLong(s->workers > 1)) == 0 &&
              put(dict, k[KEY_RUN_ONCE], PyBool_FromLong(0)) == 0 &&
              put(dict, k[KEY_INPUT_TERMINATED], PyBool_FromLong(1)) == 0 &&
              PyDict_SetItem(dict, k[KEY_FILE_WRAPPER], (PyObject *)types->file_wrapper) == 0 &&
              put(dict, k[KEY_SCRIPT_NAME], latin1_new(str_of(e->script_name))) == 0;

    if (ok && https) {
        ok = put(dict, k[KEY_HTTPS], PyUnicode_InternFromString("on")) == 0;
    }
    if (ok && https && s->cert_reqs > 0) {
        PyObject *none = PyUnicode_FromString("NONE");
        ok = none && PyDict_SetItemString(dict, SSL_CLIENT_VERIFY, none) == 0;
        Py_XDECREF(none);
    }
    return ok ? 0 : -1;
}

/* Every request replaces most of these. They are in the base so that its copy has their places already. */
static int put_places(struct environ *e, PyObject *dict)
{
    static const enum key places[] = {KEY_REQUEST_METHOD,  KEY_PATH_INFO,   KEY_QUERY_STRING, KEY_RAW_URI,
                                      KEY_SERVER_PROTOCOL, KEY_SERVER_NAME, KEY_SERVER_PORT,  KEY_REMOTE_ADDR,
                                      KEY_REMOTE_PORT,     KEY_INPUT,       KEY_EARLY_HINTS};

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        PyObject *usual = e->usual[places[i]];
        if (PyDict_SetItem(dict, e->keys[places[i]], usual ? usual : e->empty) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Makes the dict's table large enough for the usual headers, so that a copy need not grow: a few keys come and go. */
static int make_room(struct environ *e, PyObject *dict)
{
    int r = 0;

    for (int id = HEADER_OTHER + 1; id <= HEADER_OTHER + 4; id++) {
        r |= PyDict_SetItem(dict, e->headers[id], e->empty);
    }
    for (int id = HEADER_OTHER + 1; r == 0 && id <= HEADER_OTHER + 4; id++) {
        r |= PyDict_DelItem(dict, e->headers[id]);
    }
    return r;
}

static PyObject *make_base(struct environ *e, const struct settings *s, const struct module_state *types, bool https)
{
    PyObject *dict = PyDict_New();

    if (dict && (put_all(e, dict, s, types, https) < 0 || put_places(e, dict) < 0 || make_room(e, dict) < 0)) {
        Py_CLEAR(dict);
    }
    return dict;
}

static int make_names(struct environ *e)
{
    bool ok = true;

    for (int i = 0; i < KEY_COUNT && ok; i++) {
        ok = (e->keys[i] = PyUnicode_InternFromString(key_names[i])) != NULL;
    }
    for (int i = HEADER_OTHER + 1; i < HEADER_COUNT && ok; i++) {
        ok = (e->headers[i] = PyUnicode_InternFromString(header_environ_key((enum header_id)i))) != NULL;
    }
    for (size_t i = 0; i < METHODS && ok; i++) {
        ok = (e->methods[i] = PyUnicode_InternFromString(method_names[i])) != NULL;
    }
    if (!ok || !(e->http_10 = PyUnicode_InternFromString("HTTP/1.0")) ||
        !(e->http_11 = PyUnicode_InternFromString("HTTP/1.1")) || !(e->empty = PyUnicode_InternFromString(""))) {
        return -1;
    }
    e->usual[KEY_REQUEST_METHOD] = e->methods[0];
    e->usual[KEY_SERVER_PROTOCOL] = e->http_11;
    e->usual[KEY_QUERY_STRING] = e->empty;
    return 0;
}

struct environ *environ_create(const struct settings *s, const struct module_state *types)
{
    const char *script_name = getenv("SCRIPT_NAME");
    struct environ *e = calloc(1, sizeof(*e));

    if (!e || !(e->script_name = strdup(script_name ? script_name : ""))) {
        PyErr_NoMemory();
        goto fail;
    }
    if (make_names(e) < 0 || !(e->base[0] = make_base(e, s, types, false)) ||
        !(e->base[1] = make_base(e, s, types, true))) {
        goto fail;
    }
    return e;

fail:
    environ_destroy(e);
    return NULL;
}

static void drop(PyObject **objects, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        Py_XDECREF(objects[i]);
    }
}

void environ_destroy(struct environ *e)
{
    if (!e) {
        return;
    }
    drop(e->base, 2);
    drop(e->keys, KEY_COUNT);
    drop(e->headers, HEADER_COUNT);
    drop(e->last, TEXT_COUNT);
    drop(e->methods, METHODS);
    Py_XDECREF(e->http_10);
    Py_XDECREF(e->http_11);
    Py_XDECREF(e->empty);
    Py_XDECREF(e->port);
    free(e->script_name);
    free(e);
}

/* Values */

static PyObject *new_ref(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

/* A str of text that often is what it was last time; `slot`: an enum header_id or enum text. */
static PyObject *remembered(struct environ *e, unsigned slot, struct str s)
{
#ifdef Py_GIL_DISABLED
    (void)e, (void)slot;
    return latin1_new(s); /* what threads share would need a lock */
#else
    PyObject *last = e->last[slot];

    if (last && (size_t)PyUnicode_GET_LENGTH(last) == s.len && memcmp(PyUnicode_1BYTE_DATA(last), s.p, s.len) == 0) {
        return new_ref(last);
    }
    PyObject *text = latin1_new(s);
    if (text && s.len <= REMEMBERED_MAX) {
        Py_XSETREF(e->last[slot], new_ref(text));
    }
    return text;
#endif
}

static PyObject *method_of(const struct environ *e, const struct request *r)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (str_eq(r->method, str_of(method_names[i]))) {
            return new_ref(e->methods[i]);
        }
    }
    return latin1_new(r->method);
}

static PyObject *protocol_of(const struct environ *e, const struct request *r)
{
    if (r->major == 1 && r->minor <= 1) {
        return new_ref(r->minor ? e->http_11 : e->http_10);
    }
    return PyUnicode_FromFormat("HTTP/%u.%u", r->major, r->minor);
}

/* One request */

static int put_target(struct environ *e, PyObject *dict, const struct request *r)
{
    struct str path = r->path;
    struct str script = r->script_name.p ? r->script_name : str_of(e->script_name);

    if (path.len == 0 && str_eq(r->target, STR("*"))) {
        path = r->target; /* OPTIONS *: gunicorn's way, the PEP has none */
    }
    PyObject *raw = latin1_new(r->target);
    if (!raw) {
        return -1;
    }
    if (r->script_name.p && put(dict, e->keys[KEY_SCRIPT_NAME], latin1_new(script)) < 0) {
        Py_DECREF(raw);
        return -1;
    }
    if (script.len > 0) {
        if (path.len < script.len || memcmp(path.p, script.p, script.len) != 0) {
            PyErr_Format(PyExc_ValueError, "the path of %R does not start with SCRIPT_NAME, %R", raw,
                         PyDict_GetItem(dict, e->keys[KEY_SCRIPT_NAME]));
            Py_DECREF(raw);
            return -1;
        }
        path.p += script.len;
        path.len -= script.len;
    }
    bool same = path.p == r->target.p && path.len == r->target.len && !memchr(path.p, '%', path.len);
    PyObject *info = same ? new_ref(raw) : latin1_decoded(path);
    PyObject *query = r->query.len > 0 ? latin1_new(r->query) : new_ref(e->empty);
    int status = put(dict, e->keys[KEY_RAW_URI], raw);
    status |= put(dict, e->keys[KEY_PATH_INFO], info);
    status |= put_unless_usual(e, dict, KEY_QUERY_STRING, query);
    return status;
}

/* The host may carry a port: "example.org:8000", "[::1]:8000". */
static struct str cut_port(struct str *host)
{
    for (size_t i = host->len; i > 0 && host->p[i - 1] != ']'; i--) {
        if (host->p[i - 1] == ':') {
            struct str port = {host->p + i, host->len - i};
            host->len = i - 1;
            return port;
        }
    }
    return (struct str){NULL, 0};
}

/* A unix socket has neither name nor port: the Host field says what the client asked for. The PEP wants both, and
 * neither empty. */
static int put_server_of_host(struct environ *e, PyObject *dict, const struct exchange *x)
{
    struct str host = x->request.host;
    struct str port = cut_port(&host);

    if (host.len == 0) {
        host = STR("localhost");
    }
    if (port.len == 0) {
        port = x->request.https ? STR("443") : STR("80");
    }
    return put(dict, e->keys[KEY_SERVER_NAME], latin1_new(host)) |
           put(dict, e->keys[KEY_SERVER_PORT], latin1_new(port));
}

static PyObject *server_port(struct environ *e, unsigned port)
{
    (void)e;
#ifndef Py_GIL_DISABLED
    if (e->port && e->port_number == port) {
        return new_ref(e->port);
    }
#endif
    PyObject *text = latin1_number(port);
#ifndef Py_GIL_DISABLED
    if (text) {
        Py_XSETREF(e->port, new_ref(text));
        e->port_number = port;
    }
#endif
    return text;
}

/* What a PROXY header has said, under gunicorn's names. */
static int put_proxy(struct environ *e, PyObject *dict, const struct proxied *p)
{
    int status = put(dict, e->keys[KEY_PROXY_PROTOCOL], latin1_new(str_of(p->protocol)));
    if (p->addr[0] != '\0') {
        status |= put(dict, e->keys[KEY_PROXY_ADDR], latin1_new(str_of(p->addr)));
        status |= put(dict, e->keys[KEY_PROXY_PORT], latin1_number(p->port));
    }
    return status;
}

/* What the client's certificate says, under the names that Apache gives it. */
static int put_client(PyObject *dict, const struct clientcert *c)
{
    static const char *const names[CLIENTCERT_TEXTS] = {
        [CLIENTCERT_SUBJECT] = "SSL_CLIENT_S_DN",    [CLIENTCERT_ISSUER] = "SSL_CLIENT_I_DN",
        [CLIENTCERT_SERIAL] = "SSL_CLIENT_M_SERIAL", [CLIENTCERT_NOT_BEFORE] = "SSL_CLIENT_V_START",
        [CLIENTCERT_NOT_AFTER] = "SSL_CLIENT_V_END", [CLIENTCERT_PEM] = "SSL_CLIENT_CERT",
    };
    PyObject *verified = PyUnicode_FromString("SUCCESS");
    int status = verified ? PyDict_SetItemString(dict, SSL_CLIENT_VERIFY, verified) : -1;
    Py_XDECREF(verified);
    for (int i = 0; i < CLIENTCERT_TEXTS && status == 0; i++) {
        PyObject *text = latin1_new(str_of(clientcert_text(c, (enum clientcert_text)i)));
        status = text ? PyDict_SetItemString(dict, names[i], text) : -1;
        Py_XDECREF(text);
    }
    return status;
}

static int put_peer(struct environ *e, PyObject *dict, const struct exchange *x)
{
    const struct peer *p = x->peer;
    int status = put(dict, e->keys[KEY_REMOTE_ADDR], remembered(e, TEXT_REMOTE_ADDR, str_of(p->addr)));

    if (p->addr[0] != '\0') {
        status |= put(dict, e->keys[KEY_REMOTE_PORT], latin1_number(p->port));
    } else {
        status |= PyDict_DelItem(dict, e->keys[KEY_REMOTE_PORT]);
    }
    if (p->server_port != 0) {
        status |= put_and_learn(e, dict, KEY_SERVER_NAME, remembered(e, TEXT_SERVER_NAME, str_of(p->server_addr)));
        status |= put_and_learn(e, dict, KEY_SERVER_PORT, server_port(e, p->server_port));
    } else {
        status |= put_server_of_host(e, dict, x);
    }
    if (p->tls_version) {
        status |= put(dict, e->keys[KEY_SSL_PROTOCOL], remembered(e, TEXT_SSL_PROTOCOL, str_of(p->tls_version)));
        status |= put(dict, e->keys[KEY_SSL_CIPHER], remembered(e, TEXT_SSL_CIPHER, str_of(p->tls_cipher)));
    }
    if (p->client) {
        status |= put_client(dict, p->client);
    }
    if (p->proxied) {
        status |= put_proxy(e, dict, p->proxied);
    }
    return status;
}

/* "X-Thing" to "HTTP_X_THING". */
static PyObject *key_of(struct str name)
{
    PyObject *key = PyUnicode_New((Py_ssize_t)name.len + 5, 127);
    if (!key) {
        return NULL;
    }
    Py_UCS1 *out = PyUnicode_1BYTE_DATA(key);
    memcpy(out, "HTTP_", 5);
    for (size_t i = 0; i < name.len; i++) {
        out[5 + i] = name.p[i] == '-' ? '_' : (Py_UCS1)ascii_upper(name.p[i]); /* a token: ASCII */
    }
    return key;
}

/* A field that comes twice is one list: RFC 9110 5.3; cookies are joined by their own rule, RFC 9113 8.2.3. */
static int join(PyObject *dict, PyObject *key, PyObject *old, const struct header *h)
{
    PyObject *value = latin1_new(h->value);
    PyObject *both = NULL;

    if (value) {
        both = PyUnicode_FromFormat(h->id == HEADER_COOKIE ? "%U; %U" : "%U,%U", old, value);
        Py_DECREF(value);
    }
    return put(dict, key, both);
}

/* Under a key that may be taken already. */
static int put_or_join(PyObject *dict, PyObject *key, const struct header *h)
{
    PyObject *old = PyDict_GetItemWithError(dict, key);

    return old ? join(dict, key, old, h) : PyErr_Occurred() ? -1 : put(dict, key, latin1_new(h->value));
}

static int put_other_header(PyObject *dict, const struct header *h)
{
    PyObject *key = key_of(h->name);
    int r = key ? put_or_join(dict, key, h) : -1;

    Py_XDECREF(key);
    return r;
}

static int put_headers(struct environ *e, PyObject *dict, const struct request *r)
{
    uint64_t seen[HEADER_COUNT / 64 + 1] = {0};

    for (size_t i = 0; i < r->n_headers; i++) {
        const struct header *h = &r->headers[i];
        uint64_t bit = UINT64_C(1) << (h->id % 64);
        int status;
        if (h->id == HEADER_OTHER) {
            status = put_other_header(dict, h);
        } else if (h->id == HEADER_CONTENT_LENGTH) {
            continue; /* as a number, see below */
        } else if (r->aliases) {
            status = put_or_join(dict, e->headers[h->id], h); /* X_FORWARDED_FOR may have come before X-Forwarded-For */
        } else if (seen[h->id / 64] & bit) {
            status = h->id == HEADER_CONTENT_TYPE
                         ? 0 /* the first counts: a list of types means nothing */
                         : join(dict, e->headers[h->id], PyDict_GetItemWithError(dict, e->headers[h->id]), h);
        } else {
            seen[h->id / 64] |= bit;
            status = put(dict, e->headers[h->id], remembered(e, h->id, h->value));
        }
        if (status < 0) {
            return -1;
        }
    }
    return 0;
}

/* A chunked body was received whole: its length is known by now, and applications that read by CONTENT_LENGTH only
 * find all of it. */
static int put_length(struct environ *e, PyObject *dict, const struct exchange *x)
{
    if (x->request.chunked) {
        return put(dict, e->headers[HEADER_CONTENT_LENGTH], latin1_number(body_len(x->body)));
    }
    if (x->request.content_length >= 0) {
        return put(dict, e->headers[HEADER_CONTENT_LENGTH], latin1_number((uint64_t)x->request.content_length));
    }
    return 0;
}

/* The application may take the connection over: gunicorn's key for it, which simple-websocket and others look for. */
static int put_socket(PyObject *dict, struct exchange *x)
{
    PyObject *module = PyImport_ImportModule("socket");
    PyObject *socket = module ? PyObject_CallMethod(module, "socket", "iiii", -1, -1, -1, x->socket) : NULL;
    int status = -1;

    if (socket) {
        x->socket = -1; /* it is Python's now */
        status = PyDict_SetItemString(dict, "gunicorn.socket", socket);
    }
    Py_XDECREF(socket);
    Py_XDECREF(module);
    return status;
}

PyObject *environ_make(struct environ *e, struct exchange *x, PyObject *input, PyObject *hints)
{
    const struct request *r = &x->request;
    PyObject *dict = PyDict_Copy(e->base[r->https ? 1 : 0]);

    if (!dict) {
        return NULL;
    }
    if (PyDict_SetItem(dict, e->keys[KEY_INPUT], input) < 0 ||
        PyDict_SetItem(dict, e->keys[KEY_EARLY_HINTS], hints) < 0 ||
        put_unless_usual(e, dict, KEY_REQUEST_METHOD, method_of(e, r)) < 0 ||
        put_unless_usual(e, dict, KEY_SERVER_PROTOCOL, protocol_of(e, r)) < 0 || put_target(e, dict, r) < 0 ||
        put_peer(e, dict, x) < 0 || put_headers(e, dict, r) < 0 || put_length(e, dict, x) < 0 ||
        (x->socket >= 0 && put_socket(dict, x) < 0)) {
        Py_DECREF(dict);
        return NULL;
    }
    return dict;
}

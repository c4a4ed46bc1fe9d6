/* lend.c - body bytes lent to the server until the socket has taken them. */
#include "wsgi/lend.h"

#include "server/http/response.h"

/* Copying a few bytes is cheaper than lending them: no node, no list to come back from, and they lie beside the head.
 * A copy stays in the arena until the exchange ends, so a response that goes on and on may only begin with copies. */
#define COPY_MAX 1024
#define COPIES_MAX 16384

struct lent {
    PyObject *bytes; /* owned */
    struct lender *lender;
    struct lent *next;
};

/* Which threads hold the interpreter is known to nobody else: PyGILState_Check cannot be asked once the application has
 * made a sub-interpreter. */
static _Thread_local bool attached;

void lend_attached(bool yes)
{
    attached = yes;
}

static struct lent *take_node(struct lender *l)
{
    struct lent *node = l->spare;

    if (node) {
        l->spare = node->next;
        return node;
    }
    return PyMem_Malloc(sizeof(*node));
}

static void give_node(struct lender *l, struct lent *node)
{
#ifdef Py_GIL_DISABLED
    (void)l;
    PyMem_Free(node); /* several threads may be here: no list */
#else
    node->next = l->spare;
    l->spare = node;
#endif
}

static void let_go(struct lent *node)
{
    PyObject *bytes = node->bytes;

    give_node(node->lender, node);
    Py_DECREF(bytes);
}

static void on_release(void *owner)
{
    struct lent *node = owner;

    if (attached) {
        let_go(node);
        return;
    }
    struct lent *first = atomic_load_explicit(&node->lender->waiting, memory_order_relaxed);
    do {
        node->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&node->lender->waiting, &first, node, memory_order_release,
                                                    memory_order_relaxed));
}

int lend_push(struct lender *l, struct response *r, PyObject *bytes)
{
    const char *data = PyBytes_AS_STRING(bytes);
    size_t len = (size_t)PyBytes_GET_SIZE(bytes);

    if (len <= COPY_MAX && r->body_bytes < COPIES_MAX) {
        if (response_push_copy(r, data, len) < 0) {
            PyErr_NoMemory();
            return -1;
        }
        return 0;
    }

    struct lent *node = take_node(l);
    if (!node) {
        PyErr_NoMemory();
        return -1;
    }
    *node = (struct lent){.bytes = bytes, .lender = l};
    Py_INCREF(bytes);
    struct chunk c = {.data = data, .len = len, .fd = -1, .release = on_release, .owner = node};
    if (response_push(r, &c) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

bool lend_pending(const struct lender *l)
{
    return atomic_load_explicit(&l->waiting, memory_order_relaxed) != NULL;
}

void lend_reap(struct lender *l)
{
    struct lent *node = atomic_exchange_explicit(&l->waiting, NULL, memory_order_acquire);

    while (node) {
        struct lent *next = node->next;
        let_go(node);
        node = next;
    }
}

void lend_finish(struct lender *l)
{
    lend_reap(l);
    while (l->spare) {
        struct lent *next = l->spare->next;
        PyMem_Free(l->spare);
        l->spare = next;
    }
}

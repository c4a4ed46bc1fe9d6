/* start_response.h - start_response, write and wsgi.early_hints, into a response. PEP 3333.
 * One struct lives in each call of the application; its three Python objects serve one request after the other, unless
 * the application keeps them: then they are left to it, and say that the request has ended. */
#pragma once

#include <Python.h>
#include <pthread.h>
#include <stdbool.h>

#include "server/http/request.h"

struct exchange;
struct lender;
struct module_state;

/* What all calls share. */
struct start_response_shared {
    const struct module_state *types; /* borrowed */
    struct lender *lender;            /* borrowed */
    bool told[HEADER_COUNT];          /* of this hop-by-hop header the log has been told */
};

extern PyType_Spec start_response_spec;
extern PyType_Spec start_response_write_spec;
extern PyType_Spec start_response_hints_spec;

struct start_response {
    struct exchange *x;                   /* borrowed; NULL between requests */
    struct start_response_shared *shared; /* borrowed */
    pthread_t thread;                     /* the one that runs the application, and may call us */
    bool called;
    bool body_started;  /* a chunk that is not empty was given: status and headers are final (PEP 3333) */
    PyObject *callable; /* owned: what the application is called with */
    PyObject *write;    /* owned: what start_response returns */
    PyObject *hints;    /* owned: environ's wsgi.early_hints */
};

/* Zeroed before its first use. 0, or -1 with an exception. */
int start_response_begin(struct start_response *s, struct start_response_shared *shared, struct exchange *x);
void start_response_end(struct start_response *s);
void start_response_finish(struct start_response *s); /* after end: lets the objects go */

/* One piece of the body into the response; empty ones are skipped. 0, or -1 with an exception: it is no bytes, or
 * start_response was not called. */
int start_response_body(struct start_response *s, PyObject *chunk);

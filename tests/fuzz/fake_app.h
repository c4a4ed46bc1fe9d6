/* fake_app.h - an application that checks every request that it is given, and answers in all the ways that a real one
 * may: with a length or without, in pieces, from a file, too much, too little, failing early and late. The script says
 * how. It keeps what the client has to see of each answer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/base/buf.h"
#include "server/exec/app.h"
#include "server/http/request.h"
#include "tests/fuzz/script.h"

enum answer_end {
    ANSWER_OPEN,     /* under way */
    ANSWER_WHOLE,    /* the client gets all of it */
    ANSWER_REPLACED, /* the application failed before anything was sent: the server answers with 500 */
    ANSWER_CUT,      /* it failed later: the client sees a broken answer */
    ANSWER_ABORTED,  /* the client left first */
};

struct answer {
    int status;
    size_t body;    /* bytes that the client must get */
    size_t pattern; /* where in fake_app_pattern they begin */
    bool to_head, no_body;
    unsigned char minor; /* of the request's HTTP version */
    enum answer_end end;
};

struct fake_app {
    struct app app;
    const struct script *script;
    const struct request_limits *limits; /* that the server keeps */
    const char *raw;                     /* borrowed: all that the client sends */
    size_t raw_len;
    size_t reread;          /* where in it the last request ended */
    struct buf seen;        /* owned: every request as text */
    struct answer *answers; /* owned: one for each request so far */
    size_t n;
    struct exchange *now; /* between begin and end */
    unsigned pieces;      /* still to be given */
    unsigned all_pieces;  /* of so many */
    size_t lent;          /* chunks that were not released yet */
    unsigned long steps;  /* calls so far: shows that something went on */
};

void fake_app_init(struct fake_app *a, const struct script *script, const struct request_limits *limits,
                   const char *raw, size_t raw_len);
void fake_app_finish(struct fake_app *a);

#define PATTERN_LEN (1024 * 1024)
const char *fake_app_pattern(void); /* what bodies are made of */

/* atoms.h - what can be said about a finished exchange in the access log, by name. */

/* clang-format off */
/* gunicorn's: h l u t r s m U q H b B f a T D M L p {header}i {header}o {variable}e; and these of our own:
 *   time                when it ended: 2026-11-22T23:35:47.120+00:00
 *   queue_us            microseconds from the complete request until the application is called
 *   ttfb_us             microseconds from the first byte of the request until the answer begins
 *   bytes_in            of the request, head and body as they came
 *   conn                a number for the connection, unique in its worker
 *   conn_requests       which request of it this is
 *   tls cipher          "TLSv1.3"; the cipher suite
 *   request_id          what X-Request-ID says; else a name that no other request of this server has
 *   worker              how many workers the server had started when it started this one
 *   pid                 its process id
 *   target version      the request line's second and third part; nothing while it was not understood
 */
/* clang-format on */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/str.h"

struct clock;
struct exchange;

enum value_kind {
    VALUE_NONE,
    VALUE_NUMBER,
    VALUE_OWN,     /* text of ours: plain ASCII without quotes and backslashes */
    VALUE_CLIENT,  /* text from outside: anything may be in it */
    VALUE_REQUEST, /* the request line, of several pieces */
};

struct atom_value {
    enum value_kind kind;
    struct str text; /* borrowed: of the exchange, or in `scratch` until the next value is asked for */
    uint64_t number;
};

struct finished {
    const struct exchange *x;
    const struct clock *clock;
    uint64_t sent, took_us; /* bytes of body on the wire; from the first byte to the last */
    unsigned worker;
    long pid;
    const char *start; /* 16 characters that differ from worker to worker, also after a restart */
    char scratch[512];
};

typedef struct atom_value atom_get(struct finished *f, struct str argument);

#define ATOM_START 16

/* The function behind a name, "h" or "queue_us", or behind the letter of "{...}i"; NULL when there is none.
 * *times: it needs the moments in struct exchange that are only noted on request. */
atom_get *atom_find(struct str name, bool *times);
atom_get *atom_find_braced(char letter);

#define VERSION_LEN 8 /* "HTTP/1.1" */
void atom_spell_version(char text[VERSION_LEN], const struct exchange *x);

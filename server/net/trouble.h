/* trouble.h - clients that do not get as far as a request: counted, and told of in one line a minute, however many.
 * Loop thread only. */
#pragma once

#include <stdint.h>

enum trouble_kind {
    TROUBLE_HANDSHAKE, /* TLS did not come about */
    TROUBLE_CLEAR,     /* plain HTTP where TLS is spoken */
    TROUBLE_TLS,       /* TLS where plain HTTP is spoken */
    TROUBLE_KINDS
};

struct trouble { /* zero: none yet */
    struct {
        unsigned long n;
        char addr[48], why[96]; /* of the last one */
    } of[TROUBLE_KINDS];
    uint64_t told_ms; /* on the loop's clock; 0: nothing yet */
};

void trouble_note(struct trouble *t, enum trouble_kind kind, const char *addr, const char *why);

/* Logs what has been noted, unless it has done so in the last minute. `now_ms`: on the loop's clock. */
void trouble_tell(struct trouble *t, uint64_t now_ms);

/* certload.h - reads the certificate store from files: pairs certificates and keys, judges them, explains.
 * Only the master does it. It takes the time to read the files and never waits for anything else. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct buf;
struct certs;
struct watch;

struct certload { /* from where; all borrowed */
    const char *certfile;
    const char *keyfile; /* NULL: keys are looked for where the certificates are */
    const char *host;    /* NULL: none is preferred */
    const char *ciphers; /* NULL: OpenSSL's own judgement of which keys are too weak */
    bool forget;         /* what was deleted goes from memory as well, unless what is left is not valid: at a reload */
};

struct certloaded {
    struct certs *certs; /* owned by who asked */
    time_t next;         /* when another choice is due, since a pair begins or ceases to be valid; 0: never */
};

/* `before`: what serves now, NULL at start. Its pairs compete with those of the files (they are `kept`) until they
 * expire or their file holds another valid pair; those whose file was deleted serve only where no valid one of a file
 * does. `warnings`: lines for the log. 0, or -1 with a sentence in `error` that names the file and says what to do,
 * without a full stop. */
int certload(struct certloaded *out, const struct certload *from, const struct certs *before, time_t now,
             struct buf *warnings, struct buf *error);

/* What has to be watched, so that no change is missed. 0 or -ENOMEM. */
int certload_watch(const struct certload *from, struct watch *w);

/* Is another number after any of the files has changed, come or gone. */
uint64_t certload_print(const struct certload *from);

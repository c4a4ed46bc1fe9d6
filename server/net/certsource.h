/* certsource.h - the files that one setting names, read; what cannot be used is explained.
 * A fault in a file that the setting names just so is an error, one in a folder a warning. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "server/net/certfiles.h"
#include "server/net/pemfile.h"

struct buf;

struct certsource {              /* the first four are given */
    const char *setting, *where; /* its name and its value; borrowed */
    bool certs, keys;            /* what is looked for */
    struct certfiles files;
    struct pemfile *read; /* owned; of each file what is in it */
    size_t n_certs, n_keys;
    size_t faults; /* files of a folder that could not be used */
};

/* `warnings`: a line each. 0, or -1 with a sentence that says what to do. certsource_finish is due in both cases. */
int certsource_read(struct certsource *s, struct buf *warnings, struct buf *error);
void certsource_finish(struct certsource *s);

/* memfile.h - files in memory that processes share. */
#pragma once

#include <stddef.h>

/* A file of `size` zero bytes that may grow but never shrinks: no worker can take the pages away under the master.
 * The descriptor (owned by the caller, close-on-exec) or -errno. `name` is for who looks at /proc. */
int memfile_create(const char *name, size_t size);

/* libpython.c - loads the Python of an environment into this process, for a cwsgi that is linked to none. */
#include "python/libpython.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "python/venv.h"
#include "server/base/buf.h"

static bool load(const char *name)
{
    return dlopen(name, RTLD_NOW | RTLD_GLOBAL) != NULL;
}

/* In the lib folder beside `bin`, a folder of programs. 1, or 0: it is not there; -1: it is, and cannot be loaded. */
static int load_beside(const char *bin, struct buf *error)
{
    static const char *const FOLDERS[] = {"lib", "lib64"};
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof(FOLDERS) / sizeof(FOLDERS[0]); i++) {
        if (snprintf(path, sizeof(path), "%s/../%s/" CWSGI_LIBPYTHON, bin, FOLDERS[i]) >= (int)sizeof(path) ||
            access(path, F_OK) < 0) {
            continue;
        }
        if (load(path)) {
            return 1;
        }
        buf_printf(error, "%s cannot be loaded: %s", path, dlerror());
        return -1;
    }
    return 0;
}

/* The same beside what a link in `home` leads to, as /usr/local/bin/python3 may. */
static int load_behind(const struct venv *v, struct buf *error)
{
    char real[PATH_MAX];

    if (!realpath(v->python, real)) {
        return 0;
    }
    *strrchr(real, '/') = '\0';
    return strcmp(real, v->home) == 0 ? 0 : load_beside(real, error);
}

int libpython_load(const struct venv *v, struct buf *error)
{
    int found = v->home[0] ? load_beside(v->home, error) : 0;
    found = found == 0 ? load_behind(v, error) : found;
    if (found == 0) {
        found = load(CWSGI_LIBPYTHON) ? 1 : 0;
    }
    if (found == 0) {
        buf_printf(error,
                   "the Python of %s has no shared library: " CWSGI_LIBPYTHON " is neither beside it nor where the "
                   "system looks (Debian has it in a package of its own, libpython3.N); a cwsgi that pip has compiled "
                   "in that environment needs none",
                   v->prefix);
    }
    return found == 1 ? 0 : -1;
}

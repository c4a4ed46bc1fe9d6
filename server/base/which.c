/* which.c - where a program lies: beside another one, or on PATH. */
#include "server/base/which.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/cwd.h"

bool which_can_run(const char *path)
{
    return access(path, X_OK) == 0;
}

/* FOLDER/NAME. */
static char *in(const char *folder, size_t len, const char *name, which_fits *fits)
{
    char *path = NULL;
    if (asprintf(&path, "%.*s/%s", (int)len, folder, name) < 0) {
        return NULL;
    }
    char *found = which_at(path, fits);
    free(path);
    return found;
}

char *which_at(const char *path, which_fits *fits)
{
    char *whole = NULL, *here = path[0] == '/' ? NULL : cwd_logical();
    if (path[0] == '/') {
        whole = strdup(path);
    } else if (here && asprintf(&whole, "%s/%s", here, path) < 0) {
        whole = NULL;
    }
    free(here);
    if (whole && fits(whole)) {
        return whole;
    }
    free(whole);
    return NULL;
}

char *which_beside(const char *program, const char *name, which_fits *fits)
{
    return in(program, (size_t)(strrchr(program, '/') - program), name, fits);
}

char *which_on_path(const char *name, which_fits *fits)
{
    char *found = NULL;
    for (const char *dir = getenv("PATH"); dir && !found;) {
        const char *colon = strchrnul(dir, ':');
        size_t len = (size_t)(colon - dir);
        found = len > 0 ? in(dir, len, name, fits) : which_at(name, fits); /* nothing: the current directory */
        dir = *colon ? colon + 1 : NULL;
    }
    return found;
}

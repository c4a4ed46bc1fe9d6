/* cwd.c - the current directory as the user sees it. */
#include "server/base/cwd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *cwd_logical(void)
{
    const char *pwd = getenv("PWD");
    struct stat named, here;
    if (pwd && *pwd == '/' && stat(pwd, &named) == 0 && stat(".", &here) == 0 && named.st_ino == here.st_ino &&
        named.st_dev == here.st_dev) {
        return strdup(pwd);
    }
    return getcwd(NULL, 0);
}

char *cwd_absolute(const char *path)
{
    if (path[0] == '/') {
        return strdup(path);
    }
    char *here = getcwd(NULL, 0), *whole = NULL;
    if (here && asprintf(&whole, "%s/%s", here, path) < 0) {
        whole = NULL;
    }
    free(here);
    return whole;
}

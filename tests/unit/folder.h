/* folder.h - an empty folder for each test, entered before it and removed after it; and what a file in it holds.
 * Include behind cmocka.h. */
#pragma once

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static char folder_text[300000]; /* what folder_content has read */

/* Short, since paths of unix sockets are. 0 or -1. */
static inline int folder_enter(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test-XXXXXX");
    return mkdtemp(folder) ? chdir(folder) : -1;
}

static inline int folder_remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static inline int folder_leave(void)
{
    return chdir("/") < 0 ? -1 : nftw(folder, folder_remove_one, 10, FTW_DEPTH | FTW_PHYS);
}

/* The beginning of a file, as a string that the next call overwrites. */
static inline const char *folder_content(const char *path)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(folder_text, 1, sizeof(folder_text) - 1, f);
    folder_text[n] = '\0';
    fclose(f);
    return folder_text;
}

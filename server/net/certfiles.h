/* certfiles.h - which files a setting names: one file, all of a folder and of the folders in it, or a pattern's
 * matches. Only looks at names and inodes, and opens no file. There are bounds on how much it looks at, so that a
 * folder of thousands of files, or links that lead in circles, cost little: files that are named like certificates or
 * keys come first. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define CERTFILES_MAX 4096 /* files in the list */

struct certfile {
    char *path; /* owned */
    struct timespec modified;
    size_t size;
    bool given; /* the setting names just this file: a fault in it is a fault of the setting */
    bool link;  /* a symbolic link, or it may be one */
    bool likely;
};

struct certfiles {         /* zeroed: none */
    struct certfile *list; /* owned; the likely ones first, of each part the newest */
    size_t n;
    char **folders; /* owned, each; a new file in them may be one of ours */
    size_t n_folders;
    char *unreadable; /* owned; a folder that could not be looked into; NULL: none */
    bool cut;         /* there are more files than we look at */
    size_t seen;      /* names that were looked at */
    uint64_t print;   /* is another one when a file has come, gone or changed */
    struct folder_id *visited;
    size_t n_visited;
};

/* Files that `where` names are added; "~/" is the home folder. Of a folder, hidden files and what is no plain file are
 * left out. 0 or -errno: nothing is there, or the folder cannot be read. certfiles_finish is due in both cases. */
int certfiles_find(struct certfiles *fs, const char *where);
void certfiles_finish(struct certfiles *fs);

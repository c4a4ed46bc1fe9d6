/* watch.h - files that are watched for changes: by inotify, or where that is not to be had by their times and sizes.
 * inotify watches the folders of files, so that a file which is replaced by another one is still seen. One thread. */
#pragma once

#include <stdbool.h>

struct watch; /* opaque */

/* `suffix` (borrowed; NULL: none): other files in those folders that end so count too; only inotify sees them.
 * `poll`: without inotify. NULL when memory is short. */
struct watch *watch_create(const char *suffix, bool poll);
void watch_destroy(struct watch *w); /* NULL is fine */

/* Adds a file, and what it is a symbolic link to; it need not be there, and may be added again. 0 or -errno. When the
 * kernel gives no more watches, all goes on without inotify. */
int watch_add(struct watch *w, const char *path);

/* The same for a folder, of which each file counts, but not by itself those in folders within it; only inotify sees
 * them. 0 or -errno. */
int watch_add_folder(struct watch *w, const char *path);

/* Readable when there may be news; -1: there is no inotify, ask watch_changed now and then. Borrowed. */
int watch_fd(const struct watch *w);

/* A file that changed, came or went since it was added or since the last call; NULL: none. Good until the next call;
 * what else has changed is forgotten. */
const char *watch_changed(struct watch *w);

/* watch.c - files that are watched for changes. */
#include "server/base/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/str.h"

/* IN_CREATE is for folders and links, IN_ATTRIB for a file that may be read now. */
#define NEWS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE)
#define ALL_NEWS (NEWS | IN_ATTRIB)

struct file {
    char *path; /* owned */
    struct timespec modified;
    off_t size; /* -1: it is not there */
};

struct folder {
    char *path; /* owned */
    int wd;
    bool all; /* each file in it counts */
};

struct watch {
    const char *suffix; /* borrowed; NULL: none */
    int fd;             /* owned; inotify, or -1 */
    struct file *files; /* owned; sorted by path */
    size_t n_files;
    struct folder *folders; /* owned */
    size_t n_folders;
    char changed[PATH_MAX];
};

struct watch *watch_create(const char *suffix, bool poll)
{
    struct watch *w = calloc(1, sizeof(*w));
    if (w) {
        w->suffix = suffix;
        w->fd = poll ? -1 : inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    }
    return w;
}

/* The watches go with the descriptor. */
static void forget_folders(struct watch *w)
{
    if (w->fd >= 0) {
        close(w->fd);
        w->fd = -1;
    }
    for (size_t i = 0; i < w->n_folders; i++) {
        free(w->folders[i].path);
    }
    free(w->folders);
    w->folders = NULL;
    w->n_folders = 0;
}

void watch_destroy(struct watch *w)
{
    if (!w) {
        return;
    }
    forget_folders(w);
    for (size_t i = 0; i < w->n_files; i++) {
        free(w->files[i].path);
    }
    free(w->files);
    free(w);
}

int watch_fd(const struct watch *w)
{
    return w->fd;
}

/* Whether it is other than before; from now on that is how it is known. */
static bool look_at(struct file *f)
{
    struct stat st;
    struct file now = {.path = f->path, .size = -1};
    if (stat(f->path, &st) == 0 && !S_ISDIR(st.st_mode)) { /* a folder changes with each file that is made in it */
        now.modified = st.st_mtim;
        now.size = st.st_size;
    }
    bool other =
        now.size != f->size || now.modified.tv_sec != f->modified.tv_sec || now.modified.tv_nsec != f->modified.tv_nsec;
    *f = now;
    return other;
}

/* Where the file is in the list, or would be. */
static size_t place_of(const struct watch *w, const char *path, bool *found)
{
    size_t low = 0, high = w->n_files;
    *found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(w->files[middle].path, path);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Takes the path over. 0 or -ENOMEM. A folder that cannot be watched for another reason than want of watches is none
 * that could change. */
static int add_folder(struct watch *w, char *path, bool all)
{
    if (!path) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < w->n_folders; i++) {
        if (strcmp(w->folders[i].path, path) == 0 && w->folders[i].all >= all) {
            free(path);
            return 0;
        }
    }
    int wd = inotify_add_watch(w->fd, path, (all ? ALL_NEWS : NEWS) | IN_ONLYDIR | IN_MASK_ADD);
    if (wd < 0) {
        if (errno == ENOSPC || errno == ENOMEM) {
            forget_folders(w);
        }
        free(path);
        return 0;
    }
    struct folder *more = reallocarray(w->folders, w->n_folders + 1, sizeof(*more));
    if (!more) {
        free(path);
        return -ENOMEM;
    }
    w->folders = more;
    w->folders[w->n_folders++] = (struct folder){.path = path, .wd = wd, .all = all};
    return 0;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static int add_one(struct watch *w, const char *path)
{
    bool found;
    size_t place = place_of(w, path, &found);
    if (found) {
        return 0;
    }
    struct file *more = reallocarray(w->files, w->n_files + 1, sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    w->files = more;
    struct file f = {.path = strdup(path)};
    if (!f.path) {
        return -ENOMEM;
    }
    char *folder = folder_of(path);
    int r = folder ? 0 : -ENOMEM;
    if (folder && w->fd >= 0) {
        r = add_folder(w, folder, false);
    } else {
        free(folder);
    }
    if (r < 0) {
        free(f.path);
        return r;
    }
    look_at(&f);
    memmove(more + place + 1, more + place, (w->n_files - place) * sizeof(*more));
    more[place] = f;
    w->n_files++;
    return 0;
}

static int add_with_target(struct watch *w, const char *path)
{
    bool found;
    place_of(w, path, &found);
    if (found) {
        return 0;
    }
    int r = add_one(w, path);
    char *real = r == 0 ? realpath(path, NULL) : NULL;
    if (real && strcmp(real, path) != 0) {
        r = add_one(w, real);
    }
    free(real);
    return r;
}

int watch_add(struct watch *w, const char *path)
{
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') { /* "certs/" is an entry of its folder, too, and may be a link */
        len--;
    }
    char *plain = strndup(path, len);
    int r = plain ? add_with_target(w, plain) : -ENOMEM;
    free(plain);
    return r;
}

int watch_add_folder(struct watch *w, const char *path)
{
    return w->fd >= 0 ? add_folder(w, strdup(path), true) : 0;
}

/* A new file is told of again when it has been written. */
static bool is_begun(const struct watch *w, const struct inotify_event *e)
{
    struct stat st;
    return (e->mask & IN_CREATE) && lstat(w->changed, &st) == 0 && S_ISREG(st.st_mode);
}

/* Whether the event is about a file that counts, whose path is then in w->changed. */
static bool counts(struct watch *w, const struct inotify_event *e)
{
    if (e->mask & IN_Q_OVERFLOW) {
        snprintf(w->changed, sizeof(w->changed), "more than could be told");
        return true;
    }
    for (size_t i = 0; e->len > 0 && i < w->n_folders; i++) {
        if (w->folders[i].wd != e->wd) {
            continue;
        }
        const char *folder = w->folders[i].path;
        bool found, here = !strcmp(folder, "."), root = !strcmp(folder, "/");
        snprintf(w->changed, sizeof(w->changed), "%s%s%s", here ? "" : folder, here || root ? "" : "/", e->name);
        place_of(w, w->changed, &found);
        if (w->folders[i].all ||
            ((found || (w->suffix && str_ends(str_of(e->name), str_of(w->suffix)))) && !is_begun(w, e))) {
            return true;
        }
    }
    return false;
}

static const char *read_events(struct watch *w)
{
    _Alignas(struct inotify_event) char events[8192];
    bool any = false;
    ssize_t n;
    while ((n = read(w->fd, events, sizeof(events))) > 0 || (n < 0 && errno == EINTR)) {
        for (char *p = events; !any && n > 0 && p < events + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(void *)p;
            any = counts(w, e);
            p += sizeof(*e) + e->len;
        }
    }
    return any ? w->changed : NULL;
}

const char *watch_changed(struct watch *w)
{
    if (w->fd >= 0) {
        return read_events(w);
    }
    const char *changed = NULL;
    for (size_t i = 0; i < w->n_files; i++) {
        if (look_at(&w->files[i])) {
            changed = w->files[i].path;
        }
    }
    return changed;
}

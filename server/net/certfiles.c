/* certfiles.c - which files a setting names. */
#include "server/net/certfiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fnv.h"
#include "server/base/str.h"
#include "server/net/pemfile.h"

#define DEPTH_MAX 4      /* folders in folders */
#define SEEN_MAX 20000   /* names */
#define FOLDERS_MAX 1000 /* that are looked into */

struct folder_id {
    dev_t dev;
    ino_t ino;
};

static void mix(struct certfiles *fs, const void *data, size_t len)
{
    fs->print = fnv_add(fs->print, data, len);
}

static void mix_file(struct certfiles *fs, const char *path, const struct stat *st)
{
    mix(fs, path, strlen(path) + 1);
    mix(fs, &st->st_dev, sizeof(st->st_dev));
    mix(fs, &st->st_ino, sizeof(st->st_ino));
    mix(fs, &st->st_size, sizeof(st->st_size));
    mix(fs, &st->st_mtim, sizeof(st->st_mtim));
    mix(fs, &st->st_ctim, sizeof(st->st_ctim)); /* rights count, too: a file may become readable */
}

static bool is_likely(const char *path)
{
    static const char *const ENDS[] = {"pem", "crt", "cer", "cert", "key", "chain", "bundle", "ca-bundle"};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof(ENDS) / sizeof(ENDS[0]); i++) {
        if (str_ieq(str_of(dot + 1), str_of(ENDS[i]))) {
            return true;
        }
    }
    return false;
}

static int add_file(struct certfiles *fs, const char *path, const struct stat *st, bool given, bool link)
{
    mix_file(fs, path, st);
    if (!given && (!S_ISREG(st->st_mode) || st->st_size > PEMFILE_MAX)) {
        return 0;
    }
    if (fs->n == CERTFILES_MAX) {
        if (!is_likely(path)) {
            fs->cut = true;
            return 0;
        }
        for (size_t i = fs->n; i-- > 0;) { /* an unlikely one makes room */
            if (!fs->list[i].likely) {
                free(fs->list[i].path);
                fs->list[i] = fs->list[--fs->n];
                break;
            }
        }
        fs->cut = true;
        if (fs->n == CERTFILES_MAX) {
            return 0;
        }
    }
    struct certfile *more = reallocarray(fs->list, fs->n + 1, sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    fs->list = more;
    struct certfile f = {.path = strdup(path),
                         .modified = st->st_mtim,
                         .size = (size_t)st->st_size,
                         .given = given,
                         .link = link,
                         .likely = is_likely(path)};
    if (!f.path) {
        return -ENOMEM;
    }
    more[fs->n++] = f;
    return 0;
}

static int add_folder(struct certfiles *fs, const char *path)
{
    char **more = reallocarray(fs->folders, fs->n_folders + 1, sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    fs->folders = more;
    more[fs->n_folders] = strdup(path);
    if (!more[fs->n_folders]) {
        return -ENOMEM;
    }
    fs->n_folders++;
    return 0;
}

/* 1: it was not visited before; 0: it was, or there were enough; -ENOMEM. */
static int visit(struct certfiles *fs, const struct stat *st)
{
    for (size_t i = 0; i < fs->n_visited; i++) {
        if (fs->visited[i].dev == st->st_dev && fs->visited[i].ino == st->st_ino) {
            return 0;
        }
    }
    if (fs->n_visited == FOLDERS_MAX) {
        fs->cut = true;
        return 0;
    }
    struct folder_id *more = reallocarray(fs->visited, fs->n_visited + 1, sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    fs->visited = more;
    more[fs->n_visited++] = (struct folder_id){.dev = st->st_dev, .ino = st->st_ino};
    return 1;
}

static int walk(struct certfiles *fs, const char *path, const struct stat *st, int depth);

static int look_at(struct certfiles *fs, const char *folder, DIR *dir, const struct dirent *e, int depth)
{
    struct stat st;
    char path[PATH_MAX];
    bool root = folder[strlen(folder) - 1] == '/';
    int n = snprintf(path, sizeof(path), "%s%s%s", folder, root ? "" : "/", e->d_name);
    if (n >= (int)sizeof(path) || fstatat(dirfd(dir), e->d_name, &st, 0) < 0) {
        return 0; /* it has gone meanwhile, or is a link to nowhere, or to itself */
    }
    if (!S_ISDIR(st.st_mode)) {
        return add_file(fs, path, &st, false, e->d_type == DT_LNK || e->d_type == DT_UNKNOWN);
    }
    int r = depth < DEPTH_MAX ? walk(fs, path, &st, depth + 1) : 0;
    return r == -ENOMEM ? r : 0;
}

/* 0 or -errno: it cannot be read, which of a folder within the one that was asked for is only noted. */
static int walk(struct certfiles *fs, const char *path, const struct stat *st, int depth)
{
    int r = visit(fs, st);
    if (r <= 0) {
        return r;
    }
    mix_file(fs, path, st);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        r = -errno;
        if (fd >= 0) {
            close(fd);
        }
        if (!fs->unreadable) {
            fs->unreadable = strdup(path);
        }
        return r;
    }
    r = add_folder(fs, path);
    const struct dirent *e;
    while (r == 0 && (e = readdir(dir))) {
        if (fs->seen++ >= SEEN_MAX) {
            fs->cut = true;
            break;
        }
        if (e->d_name[0] != '.') { /* "." and "..", half-written files of rsync and editors, Kubernetes' own */
            r = look_at(fs, path, dir, e, depth);
        }
    }
    closedir(dir);
    return r;
}

/* What one path leads to. */
static int add_path(struct certfiles *fs, const char *path, bool given)
{
    struct stat st, own;
    if (lstat(path, &own) < 0 || stat(path, &st) < 0) {
        return -errno;
    }
    return S_ISDIR(st.st_mode) ? walk(fs, path, &st, 0) : add_file(fs, path, &st, given, S_ISLNK(own.st_mode));
}

/* New files that suit the pattern appear in its folder, if that is no pattern itself. */
static int add_folder_of(struct certfiles *fs, const char *pattern)
{
    const char *slash = strrchr(pattern, '/');
    char *folder = !slash ? strdup(".") : strndup(pattern, slash == pattern ? 1 : (size_t)(slash - pattern));
    int r = folder ? 0 : -ENOMEM;
    if (folder && !strpbrk(folder, "*?[~")) {
        r = add_folder(fs, folder);
    }
    free(folder);
    return r;
}

static int add_matches(struct certfiles *fs, const char *pattern)
{
    glob_t found = {0};
    int r = glob(pattern, GLOB_TILDE, NULL, &found);
    if (r != 0) {
        globfree(&found);
        return r == GLOB_NOSPACE ? -ENOMEM : -ENOENT;
    }
    bool one = !strpbrk(pattern, "*?["); /* it was only for the home folder */
    int bad = 0;
    r = one ? 0 : add_folder_of(fs, pattern);
    for (size_t i = 0; r == 0 && i < found.gl_pathc; i++) {
        bad = add_path(fs, found.gl_pathv[i], one);
        r = bad == -ENOMEM ? bad : 0;
    }
    globfree(&found);
    return one && r == 0 ? bad : r;
}

static int compare(long a, long b)
{
    return (a > b) - (a < b);
}

/* The newest first: who reads only so many leaves out the old ones. */
static int by_rank(const void *a, const void *b)
{
    const struct certfile *f = a, *g = b;
    int order = compare(g->likely, f->likely);
    order = order ? order : compare(g->modified.tv_sec, f->modified.tv_sec);
    order = order ? order : compare(g->modified.tv_nsec, f->modified.tv_nsec);
    return order ? order : strcmp(f->path, g->path);
}

int certfiles_find(struct certfiles *fs, const char *where)
{
    int r = add_path(fs, where, true);
    if (r == -ENOENT && strpbrk(where, "*?[~")) {
        r = add_matches(fs, where);
    }
    if (fs->n > 0) {
        qsort(fs->list, fs->n, sizeof(*fs->list), by_rank);
    }
    return r;
}

void certfiles_finish(struct certfiles *fs)
{
    for (size_t i = 0; i < fs->n; i++) {
        free(fs->list[i].path);
    }
    for (size_t i = 0; i < fs->n_folders; i++) {
        free(fs->folders[i]);
    }
    free(fs->list);
    free(fs->folders);
    free(fs->unreadable);
    free(fs->visited);
    *fs = (struct certfiles){0};
}

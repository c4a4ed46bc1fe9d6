/* find.c - the servers of this user, and which one is meant. */
#include "server/ctl/find.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/runfolder.h"

#define ANSWER_SECONDS 5 /* a master answers at once, unless a hook of its configuration keeps it */

static void finish_server(struct server *s)
{
    free(s->socket);
    free(s->identity);
}

void find_finish(struct servers *all)
{
    for (size_t i = 0; i < all->n; i++) {
        finish_server(&all->list[i]);
    }
    free(all->list);
    *all = (struct servers){0};
}

static bool is_known(const struct servers *all, long pid)
{
    for (size_t i = 0; i < all->n; i++) {
        if (all->list[i].pid == pid) {
            return true;
        }
    }
    return false;
}

static int keep_server(struct servers *all, const char *socket, long pid, struct buf *identity)
{
    struct server *more = reallocarray(all->list, all->n + 1, sizeof(*more));
    const char *text = buf_cstr(identity);
    struct server s = {.socket = strdup(socket), .identity = text ? strdup(text) : NULL, .pid = pid};
    all->list = more ? more : all->list;
    if (!more || !s.socket || !s.identity) {
        finish_server(&s);
        return -ENOMEM;
    }
    all->list[all->n++] = s;
    return 0;
}

/* Asks who is there. 0, also when nobody is, or -ENOMEM. */
static int add(struct servers *all, const char *socket, bool any)
{
    struct ask a;
    struct buf text = {0};
    int r = 0;
    if (ask_open(&a, socket, any) < 0) {
        return 0;
    }
    if (!is_known(all, a.pid)) {
        if (ask_line(&a, "identity", ANSWER_SECONDS, &text) != 0) {
            text.len = 0;
            r = buf_printf(&text, "pid %ld\nstate %s\n", a.pid, FIND_SILENT);
        }
        r = r < 0 ? r : keep_server(all, socket, a.pid, &text);
    }
    buf_finish(&text);
    ask_close(&a);
    return r;
}

static int add_folder(struct servers *all, int fd, const char *path)
{
    DIR *folder = fdopendir(fd);
    int r = 0;
    if (!folder) {
        close(fd);
        return -ENOMEM;
    }
    for (const struct dirent *d; r == 0 && (d = readdir(folder));) {
        size_t len = strlen(d->d_name);
        char *socket = NULL;
        if (len < 6 || strcmp(d->d_name + len - 5, ".sock") != 0) {
            continue;
        }
        r = asprintf(&socket, "%s/%s", path, d->d_name) < 0 ? -ENOMEM : add(all, socket, false);
        free(socket);
    }
    closedir(folder);
    return r;
}

int find_all(struct servers *all)
{
    int r = 0;
    for (unsigned i = 0; i < RUNFOLDERS && r == 0; i++) {
        struct buf path = {0};
        int fd = runfolder_open(i, false, &path);
        if (fd >= 0) {
            r = add_folder(all, fd, path.data);
        }
        buf_finish(&path);
    }
    return r;
}

const char *find_value(const struct server *s, const char *key, const char *after, size_t *len)
{
    size_t key_len = strlen(key);
    const char *line = s->identity;
    if (after) {
        line = strchr(after, '\n');
        line = line ? line + 1 : "";
    }
    for (const char *end; (end = strchr(line, '\n')); line = end + 1) {
        if (strncmp(line, key, key_len) == 0 && line[key_len] == ' ') {
            *len = (size_t)(end - line) - key_len - 1;
            return line + key_len + 1;
        }
    }
    return NULL;
}

bool find_is_silent(const struct server *s)
{
    size_t len;
    const char *state = find_value(s, "state", NULL, &len);
    return state && len == strlen(FIND_SILENT) && memcmp(state, FIND_SILENT, len) == 0;
}

static bool has(const struct server *s, const char *key, const char *what)
{
    size_t len;
    for (const char *v = NULL; (v = find_value(s, key, v, &len));) {
        if (len == strlen(what) && memcmp(v, what, len) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_path(const struct server *s, const char *key, const char *real)
{
    size_t len;
    for (const char *v = NULL; (v = find_value(s, key, v, &len));) {
        char path[PATH_MAX], resolved[PATH_MAX];
        snprintf(path, sizeof(path), "%.*s", (int)len, v);
        if (realpath(path, resolved) && strcmp(resolved, real) == 0) {
            return true;
        }
    }
    return false;
}

/* "127.0.0.1:8000", "https://0.0.0.0:8080", "8080", "unix:/run/x.sock" */
static bool has_address(const struct server *s, const char *what)
{
    size_t len;
    for (const char *v = NULL; (v = find_value(s, "address", v, &len));) {
        size_t n = strlen(what);
        bool ends = n <= len && memcmp(v + len - n, what, n) == 0;
        if (ends && (n == len || v[len - n - 1] == '/' || v[len - n - 1] == ':')) {
            return true;
        }
    }
    return false;
}

static bool is_meant(const struct server *s, const char *what, const char *real)
{
    char pid[32];
    snprintf(pid, sizeof(pid), "%ld", s->pid);
    return strcmp(pid, what) == 0 || has(s, "name", what) || has(s, "application", what) || has_address(s, what) ||
           (real &&
            (has_path(s, "directory", real) || has_path(s, "started_in", real) || has_path(s, "pidfile", real)));
}

static void keep(struct servers *all, size_t i, bool it, size_t *kept)
{
    if (it) {
        struct server s = all->list[i];
        all->list[i] = all->list[*kept];
        all->list[(*kept)++] = s;
    }
}

static void drop_behind(struct servers *all, size_t kept)
{
    for (size_t i = kept; i < all->n; i++) {
        finish_server(&all->list[i]);
    }
    all->n = kept;
}

void find_keep(struct servers *all, const char *what)
{
    char real[PATH_MAX];
    const char *path = realpath(what ? what : ".", real);
    struct stat st;
    size_t kept = 0;
    if (what && path && stat(path, &st) == 0 && S_ISSOCK(st.st_mode)) { /* perhaps one that is in none of the folders */
        find_finish(all);
        add(all, what, true);
        return;
    }
    for (size_t i = 0; i < all->n; i++) {
        bool here = !what && path &&
                    (has_path(&all->list[i], "directory", path) || has_path(&all->list[i], "started_in", path));
        keep(all, i, what ? is_meant(&all->list[i], what, path) : here, &kept);
    }
    bool none = what && kept == 0;
    for (size_t i = 0; none && i < all->n; i++) { /* one that is silent may be meant: only its pid is known */
        keep(all, i, find_is_silent(&all->list[i]), &kept);
    }
    if (what || kept > 0) {
        drop_behind(all, kept);
    }
}

void find_keep_pid(struct servers *all, long pid)
{
    size_t kept = 0;
    for (size_t i = 0; i < all->n; i++) {
        keep(all, i, all->list[i].pid == pid, &kept);
    }
    drop_behind(all, kept);
}

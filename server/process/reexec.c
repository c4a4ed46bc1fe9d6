/* reexec.c - reload in place: listeners and worker pids live through execve. */
#include "server/process/reexec.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/process/daemon.h"

#define VARIABLE "CWSGI_HANDOVER"

/* Which descriptors the next image inherits */

static int set_inherit(int fd, bool inherit)
{
    if (fd >= 0 && fcntl(fd, F_SETFD, inherit ? 0 : FD_CLOEXEC) < 0) {
        return -errno;
    }
    return 0;
}

/* All but those of lists. */
static const size_t SINGLE[] = {
    offsetof(struct handover, scoreboard_fd),   offsetof(struct handover, tickets_fd),
    offsetof(struct handover, certs_fd),        offsetof(struct handover, stacks_fd),
    offsetof(struct handover, master_fd[0]),    offsetof(struct handover, master_fd[1]),
    offsetof(struct handover, wake_fd[0]),      offsetof(struct handover, wake_fd[1]),
    offsetof(struct handover, pidfile_fd),      offsetof(struct handover, control_fd),
    offsetof(struct handover, control_lock_fd),
};
#define N_SINGLE (sizeof(SINGLE) / sizeof(SINGLE[0]))

static int *single(struct handover *h, size_t i)
{
    return (int *)((char *)h + SINGLE[i]);
}

static int set_inherit_all(const struct handover *h, bool inherit)
{
    int r = 0;
    for (size_t i = 0; i < N_SINGLE && r == 0; i++) {
        r = set_inherit(*single((struct handover *)h, i), inherit);
    }
    for (size_t i = 0; i < h->listeners.n && r == 0; i++) {
        r = set_inherit(h->listeners.list[i].fd, inherit);
    }
    for (size_t i = 0; i < h->n_waiters && r == 0; i++) {
        r = set_inherit(h->waiters[i], inherit);
    }
    return r;
}

/* Writing */

/* Strings may hold anything: they stand on lines of their own, whose length is told before. */
static int write_text(struct buf *b, const struct handover *h)
{
    int r =
        buf_printf(b, "cwsgi-handover 1 %ld\nscoreboard %d\ntickets %d\nmaster %d %d\nwake %d %d\nserved %d\nage %u\n",
                   (long)getpid(), h->scoreboard_fd, h->tickets_fd, h->master_fd[0], h->master_fd[1], h->wake_fd[0],
                   h->wake_fd[1], h->served, h->age);
    if (r == 0) {
        r = buf_printf(b, "masters %d %ld %ld\n", h->newborn, (long)h->elder, (long)h->younger);
    }
    if (r == 0 && h->pidfile_fd >= 0) {
        r = buf_printf(b, "pidfile %d %zu\n%s\n", h->pidfile_fd, strlen(h->pidfile_path), h->pidfile_path);
    }
    if (r == 0 && h->stacks_fd >= 0) {
        r = buf_printf(b, "stacks %d\n", h->stacks_fd);
    }
    if (r == 0 && h->control_lock_fd >= 0) {
        r = buf_printf(b, "control-lock %d %zu\n%s\n", h->control_lock_fd, strlen(h->control_lock_path),
                       h->control_lock_path);
    }
    if (r == 0 && h->control_fd >= 0) {
        r = buf_printf(b, "control %d %zu\n%s\n", h->control_fd, strlen(h->control_path), h->control_path);
    }
    if (r == 0 && h->log_path) {
        r = buf_printf(b, "log %d %zu\n%s\n", h->log_form, strlen(h->log_path), h->log_path);
    }
    for (size_t i = 0; i < h->n_waiters && r == 0; i++) {
        r = buf_printf(b, "waiter %d\n", h->waiters[i]);
    }
    if (r == 0 && h->counts) {
        r = buf_printf(b, "counts %zu\n%s\n", strlen(h->counts), h->counts);
    }
    if (r == 0 && h->certs_fd >= 0) {
        r = buf_printf(b, "certs %d\n", h->certs_fd);
    }
    for (size_t i = 0; i < h->listeners.n && r == 0; i++) {
        const struct listener *l = &h->listeners.list[i];
        r = buf_printf(b, "listener %d %d %zu\n%s\n", l->fd, l->ours, strlen(l->bind), l->bind);
    }
    for (size_t i = 0; i < h->n_workers && r == 0; i++) {
        const struct handover_worker *w = &h->workers[i];
        r = buf_printf(b, "worker %ld %u %u %d\n", (long)w->pid, w->slot, w->age, w->retiring);
    }
    return r;
}

/* A memory file with the state. The descriptor, which the next image inherits, or -errno. */
static int write_file(const struct handover *h)
{
    struct buf b = {0};
    int fd = -1, r = write_text(&b, h);
    if (r == 0) {
        fd = memfd_create("cwsgi-handover", 0);
        r = fd < 0 ? -errno : 0;
    }
    for (size_t done = 0; r == 0 && done < b.len;) {
        ssize_t n = write(fd, b.data + done, b.len - done);
        if (n < 0) {
            r = -errno;
        } else {
            done += (size_t)n;
        }
    }
    buf_finish(&b);
    if (r < 0 && fd >= 0) {
        close(fd);
    }
    return r < 0 ? r : fd;
}

char **reexec_env(const struct launch *l, char *extra)
{
    size_t n = 0, out = 0;
    while (l->env[n]) {
        n++;
    }
    char **env = calloc(n + 2, sizeof(*env));
    if (!env) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (strncmp(l->env[i], VARIABLE "=", sizeof(VARIABLE)) != 0) {
            env[out++] = l->env[i];
        }
    }
    env[out] = extra;
    return env;
}

/* What systemd gave to the elder master is also for the one that it starts. */
static void own_pid(char **env, const char *name, pid_t elder, char *text, size_t size)
{
    for (; *env; env++) {
        if (elder > 0 && strncmp(*env, name, strlen(name)) == 0 && atol(*env + strlen(name)) == (long)elder) {
            snprintf(text, size, "%s%ld", name, (long)getpid());
            *env = text;
        }
    }
}

/* With the state in `fd`. Only returns on failure, with -errno and everything as before. */
static int execute(const struct launch *l, const struct handover *h, int fd)
{
    char variable[sizeof(VARIABLE) + 16];
    snprintf(variable, sizeof(variable), VARIABLE "=%d", fd);
    int r = -ENOMEM, here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char **env = reexec_env(l, variable);

    char listen_pid[32], watchdog_pid[32];
    if (env) {
        r = set_inherit_all(h, true);
        own_pid(env, "LISTEN_PID=", h->elder, listen_pid, sizeof(listen_pid));
        own_pid(env, "WATCHDOG_PID=", h->elder, watchdog_pid, sizeof(watchdog_pid));
    }
    if (r == 0 && chdir(l->cwd) < 0) {
        r = -errno; /* relative paths of the command line would lead elsewhere */
    }
    if (r == 0) {
        execve(l->program, l->argv, env);
        r = -errno;
    }

    if (here >= 0) {
        if (fchdir(here) < 0) {
            log_error("Can't return to the working directory: %s", strerror(errno));
        }
        close(here);
    }
    set_inherit_all(h, false);
    free(env);
    return r;
}

int reexec_obstacle(const struct launch *l, const char **path)
{
    *path = l->cwd;
    int folder = open(l->cwd, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || faccessat(folder, ".", X_OK, AT_EACCESS) < 0) {
        int r = -errno;
        if (folder >= 0) {
            close(folder);
        }
        return r;
    }
    *path = l->program;
    int r = faccessat(folder, l->program, X_OK, AT_EACCESS) < 0 ? -errno : 0;
    close(folder);
    return r;
}

int reexec(const struct launch *l, const struct handover *h)
{
    int fd = write_file(h);
    if (fd < 0) {
        return fd;
    }
    int r = execute(l, h, fd);
    close(fd);
    return r;
}

/* Reading */

void handover_init(struct handover *h)
{
    *h = (struct handover){.fd = -1, .master_fd = {-1, -1}, .wake_fd = {-1, -1}};
    for (size_t i = 0; i < N_SINGLE; i++) {
        *single(h, i) = -1;
    }
}

struct cursor {
    const char *at; /* NUL-terminated text */
};

static int end_line(struct cursor *c)
{
    if (*c->at != '\n') {
        return -EINVAL;
    }
    c->at++;
    return 0;
}

/* The next `len` bytes, a line, as a string that the caller owns. 0 or -errno. */
static int take_string(struct cursor *c, size_t len, char **out)
{
    if (strnlen(c->at, len) < len) {
        return -EINVAL;
    }
    char *z = strndup(c->at, len);
    if (!z) {
        return -ENOMEM;
    }
    c->at += len;
    *out = z;
    return end_line(c);
}

static int add_worker(struct handover *h, long pid, unsigned slot, unsigned age, int retiring)
{
    struct handover_worker *more = reallocarray(h->workers, h->n_workers + 1, sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    h->workers = more;
    h->workers[h->n_workers++] =
        (struct handover_worker){.pid = (pid_t)pid, .slot = slot, .age = age, .retiring = retiring};
    return 0;
}

static int add_waiter(struct handover *h, int fd)
{
    int *more = reallocarray(h->waiters, h->n_waiters + 1, sizeof(*more));
    if (!more) {
        return -ENOMEM;
    }
    h->waiters = more;
    h->waiters[h->n_waiters++] = fd;
    return 0;
}

/* A number, mostly a descriptor, and the path of what it is. */
static int take_named(struct cursor *c, int fd, int *to, size_t len, char **path)
{
    if (*path) {
        return -EINVAL;
    }
    *to = fd;
    return take_string(c, len, path);
}

static int take_listener(struct handover *h, struct cursor *c, int fd, bool ours, size_t len)
{
    char *bind = NULL;
    int r = take_string(c, len, &bind);
    if (r == 0) {
        r = listeners_adopt(&h->listeners, fd, bind, ours);
    }
    free(bind);
    return r;
}

static void take_end(struct handover *h, long pid, int status)
{
    for (size_t i = 0; i < h->n_workers; i++) {
        if (h->workers[i].pid == pid) {
            h->workers[i].ended = true;
            h->workers[i].status = status;
        }
    }
}

/* Lines of one number or two. */
static void take_numbers(struct handover *h, const char *line)
{
    sscanf(line, "scoreboard %d", &h->scoreboard_fd);
    sscanf(line, "tickets %d", &h->tickets_fd);
    sscanf(line, "certs %d", &h->certs_fd);
    sscanf(line, "stacks %d", &h->stacks_fd);
    sscanf(line, "master %d %d", &h->master_fd[0], &h->master_fd[1]);
    sscanf(line, "wake %d %d", &h->wake_fd[0], &h->wake_fd[1]);
    sscanf(line, "age %u", &h->age);
    sscanf(line, "failed %u", &h->failed);
}

/* One line, and the strings behind it. Lines that we do not know are left out: a newer cwsgi may have written them,
 * when an older one is put in its place. */
static int take_line(struct handover *h, struct cursor *c)
{
    char line[128]; /* a copy that ends with its line: sscanf takes a line's end for any other space */
    const char *end = strchr(c->at, '\n');
    long pid = 0, younger = 0;
    size_t len = 0;
    unsigned slot = 0, age = 0;
    int fd = -1, flag = 0;

    if (!end) {
        return -EINVAL;
    }
    snprintf(line, sizeof(line), "%.*s", (int)(end - c->at), c->at);
    c->at = end + 1;
    if (sscanf(line, "worker %ld %u %u %d", &pid, &slot, &age, &flag) == 4) {
        /* kill() takes 0 and -1 for whole groups of processes */
        return pid > 0 && pid <= INT_MAX ? add_worker(h, pid, slot, age, flag) : -EINVAL;
    }
    if (sscanf(line, "listener %d %d %zu", &fd, &flag, &len) == 3) {
        return take_listener(h, c, fd, flag, len);
    }
    if (sscanf(line, "pidfile %d %zu", &fd, &len) == 2) {
        return take_named(c, fd, &h->pidfile_fd, len, &h->pidfile_path);
    }
    if (sscanf(line, "control-lock %d %zu", &fd, &len) == 2) {
        return take_named(c, fd, &h->control_lock_fd, len, &h->control_lock_path);
    }
    if (sscanf(line, "control %d %zu", &fd, &len) == 2) {
        return take_named(c, fd, &h->control_fd, len, &h->control_path);
    }
    if (sscanf(line, "log %d %zu", &fd, &len) == 2) {
        return take_named(c, fd, &h->log_form, len, &h->log_path);
    }
    if (sscanf(line, "ended %ld %d", &pid, &flag) == 2) {
        take_end(h, pid, flag);
        return 0;
    }
    if (sscanf(line, "waiter %d", &fd) == 1) {
        return add_waiter(h, fd);
    }
    if (sscanf(line, "counts %zu", &len) == 1) {
        return h->counts ? -EINVAL : take_string(c, len, &h->counts);
    }
    if (sscanf(line, "served %d", &flag) == 1) {
        h->served = flag;
        return 0;
    }
    if (sscanf(line, "masters %d %ld %ld", &flag, &pid, &younger) == 3) {
        h->newborn = flag;
        h->elder = pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
        h->younger = younger > 0 && younger <= INT_MAX ? (pid_t)younger : 0;
        return 0;
    }
    take_numbers(h, line);
    return 0;
}

static int read_text(struct handover *h, const char *text)
{
    struct cursor c = {.at = text};
    long pid = 0;
    int n = 0;
    /* A child of the server that got the variable by accident is not its next image. */
    if (sscanf(text, "cwsgi-handover 1 %ld%n", &pid, &n) != 1 || pid != (long)getpid()) {
        return -EINVAL;
    }
    c.at += n;
    int r = end_line(&c);
    while (r == 0 && *c.at) {
        r = take_line(h, &c);
    }
    if (r == 0 && !h->newborn &&
        (h->master_fd[0] < 0 || h->master_fd[1] < 0 || h->wake_fd[0] < 0 || h->wake_fd[1] < 0)) {
        r = -EINVAL;
    }
    return r == 0 ? set_inherit_all(h, false) : r;
}

/* The whole file as a string, owned by the caller. 0 or -errno. */
static int read_file(int fd, char **text)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    *text = calloc(1, (size_t)st.st_size + 1);
    if (!*text) {
        return -ENOMEM;
    }
    if (pread(fd, *text, (size_t)st.st_size, 0) != st.st_size) {
        free(*text);
        *text = NULL;
        return -EIO;
    }
    return 0;
}

int handover_read(struct handover **out)
{
    *out = NULL;
    const char *number = getenv(VARIABLE);
    if (!number) {
        return 0;
    }
    int fd = atoi(number);
    unsetenv(VARIABLE); /* the application's children have no business with it */

    char *text = NULL;
    int r = read_file(fd, &text);
    if (r < 0) {
        return r;
    }
    assert(text);
    struct handover *h = malloc(sizeof(*h));
    if (!h) {
        free(text);
        return -ENOMEM;
    }
    handover_init(h);
    h->fd = fd;
    r = read_text(h, text);
    free(text);
    if (r == 0) {
        r = set_inherit(fd, false);
    }
    if (r < 0) {
        handover_destroy(h);
        return r;
    }
    *out = h;
    return 0;
}

void handover_open_log(const struct handover *h)
{
    if (h->log_path) {
        log_set_form((enum log_form)h->log_form);
        log_open(h->log_path, LOG_LEVEL_INFO);
    }
}

void handover_settled(struct handover *h)
{
    if (h && h->fd >= 0) {
        close(h->fd);
        h->fd = -1;
    }
}

void handover_destroy(struct handover *h)
{
    if (!h) {
        return;
    }
    listeners_close(&h->listeners);
    handover_settled(h);
    for (size_t i = 0; i < N_SINGLE; i++) {
        if (*single(h, i) >= 0) {
            close(*single(h, i));
        }
    }
    for (size_t i = 0; i < h->n_waiters; i++) {
        close(h->waiters[i]);
    }
    free(h->waiters);
    free(h->control_path);
    free(h->control_lock_path);
    free(h->pidfile_path);
    free(h->log_path);
    free(h->counts);
    free(h->workers);
    free(h);
}

/* At the end of the file: of lines that contradict each other the last one counts. */
static int note(const struct handover *h, const char *line)
{
    struct stat st;
    size_t len = strlen(line);
    if (fstat(h->fd, &st) < 0) {
        return -errno;
    }
    ssize_t n = pwrite(h->fd, line, len, st.st_size);
    return n < 0 ? -errno : (size_t)n == len ? 0 : -EIO;
}

int handover_note_end(struct handover *h, struct handover_worker *w, int status)
{
    char line[64];
    w->ended = true;
    w->status = status;
    snprintf(line, sizeof(line), "ended %ld %d\n", (long)w->pid, status);
    return note(h, line);
}

int handover_note_failed(struct handover *h, unsigned failed)
{
    char line[64];
    h->failed = failed;
    snprintf(line, sizeof(line), "failed %u\n", failed);
    return note(h, line);
}

int reexec_again(const struct launch *l, const struct handover *h)
{
    char *text = NULL;
    int r = read_file(h->fd, &text);
    struct handover *all = r == 0 ? malloc(sizeof(*all)) : NULL;
    if (all) {
        assert(text);
        handover_init(all);
        r = read_text(all, text);
        if (r == 0) {
            r = set_inherit(h->fd, true);
        }
        r = r == 0 ? execute(l, all, h->fd) : r;
        handover_destroy(all); /* closes what somebody else has, too: there is nothing to go on with */
    } else if (r == 0) {
        r = -ENOMEM;
    }
    free(text);
    return r;
}

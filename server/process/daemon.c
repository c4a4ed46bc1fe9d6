/* daemon.c - what a Unix daemon does to its process. */
#include "server/process/daemon.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/cwd.h"
#include "server/base/log.h"
#include "server/base/sink.h"
#include "server/config/settings.h"
#include "server/process/hooks.h"

#define PAD "CWSGI_TITLE_PAD"
#define TITLE_ROOM 1024 /* bytes that argv and environ must have together, else we execute ourselves with padding */
#define TITLE_MAX 4095  /* the kernel shows no more than a page of a title that is longer than argv was */

/* The title belongs to the process, not to any object: these are its only copy, and keep what `environ` points to. */
static struct {
    char *start; /* argv[0] as the kernel laid it */
    size_t room; /* bytes up to the end of environ */
} title;
static struct launch launch;
static char **moved_environ;

/* --- Title ---------------------------------------------------------------------------------------------------------
 */

/* How far the strings of `v` go on without a gap from `end`. */
static char *extend(char *end, char **v)
{
    for (; *v; v++) {
        if (*v == end) {
            end = *v + strlen(*v) + 1;
        }
    }
    return end;
}

static size_t count(char **v)
{
    size_t n = 0;
    while (v[n]) {
        n++;
    }
    return n;
}

static void free_strings(char **v)
{
    for (char **z = v; z && *z; z++) {
        free(*z);
    }
    free(v);
}

/* A copy of `v` and its strings, but not of those that begin with `except` (NULL: all). NULL when memory is short. */
static char **copy_strings(char **v, const char *except)
{
    char **copy = calloc(count(v) + 1, sizeof(*copy));
    if (!copy) {
        return NULL;
    }
    for (size_t n = 0; *v; v++) {
        if (except && strncmp(*v, except, strlen(except)) == 0) {
            continue;
        }
        copy[n] = strdup(*v);
        if (!copy[n++]) {
            free_strings(copy);
            return NULL;
        }
    }
    return copy;
}

/* Executes ourselves with more environment. Returns when that fails: titles are cut short then. By our path, not
 * /proc/self/exe, which would become the process's name. */
static void execute_padded(char **argv)
{
    static char pad[sizeof(PAD) + TITLE_ROOM + 1] = PAD "=";
    char **env = calloc(count(environ) + 2, sizeof(*env));
    char *program = program_path(argv[0]);
    if (env && program) {
        memset(pad + sizeof(PAD), '.', TITLE_ROOM);
        memcpy(env, environ, count(environ) * sizeof(*env));
        env[count(environ)] = pad;
        execve(program, argv, env);
    }
    free(program);
    free(env);
}

const struct launch *title_init(int argc, char **argv)
{
    assert(argc > 0); /* Linux gives every program its name */
    char *end = extend(extend(argv[0], argv), environ);
    if (end - argv[0] < TITLE_ROOM && !getenv(PAD)) {
        execute_padded(argv);
    }

    launch = (struct launch){.program = program_path(argv[0]), .cwd = cwd_logical(), .argc = argc};
    launch.argv = copy_strings(argv, NULL);
    launch.env = copy_strings(environ, PAD "=");
    if (!launch.program || !launch.cwd || !launch.argv || !launch.env) {
        return NULL;
    }
    /* A table of its own: setenv changes entries in place, and launch.env is to stay as it is. */
    moved_environ = calloc(count(launch.env) + 1, sizeof(*moved_environ));
    if (!moved_environ) {
        return NULL;
    }
    memcpy(moved_environ, launch.env, count(launch.env) * sizeof(*moved_environ));
    environ = moved_environ;
    assert(launch.argv[0]);
    program_invocation_name = launch.argv[0];
    program_invocation_short_name = basename(launch.argv[0]);

    title.start = argv[0];
    title.room = (size_t)(end - argv[0]);
    return &launch;
}

static void show(const char *text, size_t len)
{
    if (len > title.room - 1) {
        len = title.room - 1;
    }
    memcpy(title.start, text, len);
    memset(title.start + len, 0, title.room - len);
}

void title_set(const char *format, ...)
{
    char text[TITLE_MAX + 1];
    va_list args;

    if (title.room == 0) {
        return;
    }
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    show(text, strlen(text));
}

void title_hide(void)
{
    static const char TEXT[] = "cwsgi: stopping";
    if (title.room > 0) {
        show(TEXT, sizeof(TEXT) - 1);
    }
}

/* --- Program path --------------------------------------------------------------------------------------------------
 */

static bool is_our_program(const char *path)
{
    struct stat a, b;
    return stat(path, &a) == 0 && stat("/proc/self/exe", &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* "dir/name" when that is us, else NULL. Relative directories start at the current one. */
static char *try_program(const char *dir, size_t dir_len, const char *name)
{
    char *cwd = NULL, *path = NULL;
    if (dir_len == 0 || dir[0] != '/') {
        cwd = cwd_logical();
        if (!cwd) {
            return NULL;
        }
    }
    if (asprintf(&path, "%s%s%.*s%s%s", cwd ? cwd : "", cwd && dir_len > 0 ? "/" : "", (int)dir_len, dir, "/", name) <
        0) {
        path = NULL;
    }
    free(cwd);
    if (path && is_our_program(path)) {
        return path;
    }
    free(path);
    return NULL;
}

char *program_path(const char *argv0)
{
    char *found = NULL;
    if (argv0[0] == '/') {
        found = is_our_program(argv0) ? strdup(argv0) : NULL;
    } else if (strchr(argv0, '/')) {
        found = try_program("", 0, argv0);
    } else {
        const char *dir = getenv("PATH");
        while (!found && dir) {
            const char *colon = strchrnul(dir, ':');
            found = try_program(dir, (size_t)(colon - dir), argv0);
            dir = *colon ? colon + 1 : NULL;
        }
    }
    if (found) {
        return found;
    }
    char real[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", real, sizeof(real));
    return n > 0 ? strndup(real, (size_t)n) : strdup(argv0);
}

/* --- Detaching -----------------------------------------------------------------------------------------------------
 */

/* What is left of the process that the user started: shows the shell whether the server is up. */
static _Noreturn void await_report(int fd)
{
    unsigned char status = 1; /* what it says when the daemon died without a word */
    ssize_t n;
    do {
        n = read(fd, &status, 1);
    } while (n < 0 && errno == EINTR);
    _exit(status);
}

int daemonize(struct hooks *hooks, int *report_fd)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    hooks->before_fork(hooks);
    pid_t pid = fork();
    int r = -errno;
    if (pid != 0) {
        hooks->after_fork_parent(hooks);
        close(fds[1]);
        if (pid > 0) {
            await_report(fds[0]);
        }
        close(fds[0]);
        return r;
    }
    setsid();
    pid = fork(); /* no leader of a session any more: it cannot get a terminal by opening one */
    r = -errno;
    if (pid > 0) {
        _exit(0);
    }
    hooks->after_fork_child(hooks);
    close(fds[0]);
    *report_fd = fds[1];
    if (pid < 0) {
        return r; /* the caller shows the error and reports its exit status to the starter */
    }
    umask(022); /* as gunicorn */
    return 0;
}

void daemon_report(int *report_fd, int status)
{
    if (*report_fd < 0) {
        return;
    }
    unsigned char byte = (unsigned char)status;
    ssize_t n;
    do {
        n = write(*report_fd, &byte, 1); /* nobody may be listening any more: SIGPIPE is ignored */
    } while (n < 0 && errno == EINTR);
    close(*report_fd);
    *report_fd = -1;
    log_echo_end();
}

/* --- Standard streams ----------------------------------------------------------------------------------------------
 */

void stdio_silence(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        log_error("Can't open /dev/null: %s", strerror(errno));
        return;
    }
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++) {
        dup2(fd, i);
    }
    if (fd > STDERR_FILENO) {
        close(fd);
    }
    if (log_fd() == STDERR_FILENO) {
        log_reopen();
    }
}

/* --- User ----------------------------------------------------------------------------------------------------------
 */

static bool number(const char *text, unsigned *value)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || n >= UINT_MAX) { /* (uid_t)-1 means "no change" */
        return false;
    }
    *value = (unsigned)n;
    return true;
}

int user_find(const char *text, uid_t *uid)
{
    if (number(text, uid)) {
        return 0;
    }
    const struct passwd *pw = getpwnam(text);
    if (!pw) {
        return -1;
    }
    *uid = pw->pw_uid;
    return 0;
}

int user_find_group(const char *text, gid_t *gid)
{
    if (number(text, gid)) {
        return 0;
    }
    const struct group *gr = getgrnam(text);
    if (!gr) {
        return -1;
    }
    *gid = gr->gr_gid;
    return 0;
}

/* Supplementary groups: those of the user with initgroups; else none of root's stay with a process that leaves root. */
static int change_groups(bool init, uid_t uid, gid_t gid)
{
    const struct passwd *pw = init ? getpwuid(uid) : NULL;
    if (init && !pw) {
        errno = ENOENT;
        return -1;
    }
    return pw ? initgroups(pw->pw_name, gid) : setgroups(1, &gid);
}

static int find_both(const struct settings *s, uid_t *uid, gid_t *gid, struct buf *error)
{
    *uid = geteuid();
    *gid = getegid();
    if (s->user && user_find(s->user, uid) < 0) {
        buf_printf(error, "There is no user '%s'", s->user);
        return -1;
    }
    if (s->group && user_find_group(s->group, gid) < 0) {
        buf_printf(error, "There is no group '%s'", s->group);
        return -1;
    }
    return 0;
}

int user_make_logs(const struct settings *s, struct buf *error)
{
    const char *const paths[] = {s->errorlog, s->accesslog};
    uid_t uid;
    gid_t gid;
    if (geteuid() != 0 || (!s->user && !s->group)) {
        return 0;
    }
    if (find_both(s, &uid, &gid, error) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        int r = !paths[i] || strcmp(paths[i], "-") == 0 ? 0 : sink_make_file(paths[i], uid, gid);
        if (r < 0) {
            buf_printf(error, "'%s' isn't writable: %s", paths[i], strerror(-r));
            return -1;
        }
    }
    return 0;
}

int user_give(const struct settings *s, const char *path, struct buf *error)
{
    uid_t uid;
    gid_t gid;
    if (geteuid() != 0 || (!s->user && !s->group)) {
        return 0;
    }
    if (find_both(s, &uid, &gid, error) < 0) {
        return -1;
    }
    if (lchown(path, uid, gid) < 0) {
        buf_printf(error, "Can't give '%s' to user %u, group %u: %s", path, uid, gid, strerror(errno));
        return -1;
    }
    return 0;
}

int user_become(const struct settings *s, struct buf *error)
{
    uid_t uid;
    gid_t gid;
    if (find_both(s, &uid, &gid, error) < 0) {
        return -1;
    }

    int death_signal = 0;
    bool leaves = uid != geteuid();
    prctl(PR_GET_PDEATHSIG, &death_signal);
    if (((leaves || s->initgroups) && geteuid() == 0 && change_groups(s->initgroups, uid, gid) < 0) ||
        (gid != getegid() && setgid(gid) < 0) || (leaves && setuid(uid) < 0)) {
        buf_printf(error, "Can't become user %u, group %u: %s", uid, gid, strerror(errno));
        return -1;
    }
    prctl(PR_SET_PDEATHSIG, death_signal);
    return 0;
}

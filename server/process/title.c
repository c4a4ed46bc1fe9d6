/* title.c - what `ps` shows of this process. */
#include "server/process/title.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/cwd.h"
#include "server/process/daemon.h"

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

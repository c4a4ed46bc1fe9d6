/* launcher.c - the program `cwsgi` of a build for any Python of its version (-Dlibpython=runtime): loads the libpython
 * of the environment that is to be served, and then the server, cwsgi-core.so, whose main() takes it from there. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "python/libpython.h"
#include "python/venv.h"
#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/process/daemon.h"
#include "server/process/reexec.h"
#include "server/process/retry.h"
#include "server/process/title.h"

typedef int entry(int argc, char **argv);

/* Where pip puts what is compiled, as seen from where it puts programs; first where Meson does. */
static const char *const FOLDERS[] = {
    ".",
    "../lib/" CWSGI_PYTHON_FOLDER "/site-packages",
    "../lib64/" CWSGI_PYTHON_FOLDER "/site-packages",
    "../lib/" CWSGI_PYTHON_FOLDER "/dist-packages",
    "../lib/python3/dist-packages",
};

static entry *load_core(const char *file, struct buf *error)
{
    void *core = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    void *found = core ? dlsym(core, "main") : NULL;
    entry *serve = NULL;
    if (found) {
        memcpy(&serve, &found, sizeof(serve)); /* POSIX has it so, C has no such conversion */
    } else {
        buf_printf(error, "%s cannot be loaded: %s", file, dlerror());
    }
    return serve;
}

/* NULL without a sentence: it is not there. */
static entry *find_core(const char *program, struct buf *error)
{
    const char *slash = strrchr(program, '/');
    char file[PATH_MAX];

    for (size_t i = 0; slash && i < sizeof(FOLDERS) / sizeof(FOLDERS[0]); i++) {
        if (snprintf(file, sizeof(file), "%.*s/%s/cwsgi-core.so", (int)(slash - program), program, FOLDERS[i]) <
                (int)sizeof(file) &&
            access(file, F_OK) == 0) {
            return load_core(file, error);
        }
    }
    return NULL;
}

static entry *load_server(const char *program, struct buf *error)
{
    struct venv venv;
    char real[PATH_MAX];

    if (venv_find(&venv, program, error) < 0) {
        return NULL;
    }
    int r = libpython_load(&venv, error);
    venv_finish(&venv);
    if (r < 0) {
        return NULL;
    }
    entry *serve = find_core(program, error);
    if (!serve && error->len == 0 && realpath(program, real)) {
        serve = find_core(real, error); /* ~/bin/cwsgi may be a link into a venv */
    }
    if (!serve && error->len == 0) {
        buf_printf(error, "cwsgi-core.so is not where pip has put it beside %s: install cwsgi anew", program);
    }
    return serve;
}

/* As main.c does: when this is a reload, the workers serve on. */
static int refuse(int argc, char **argv, struct buf *error)
{
    const char *text = buf_cstr(error);
    text = text && *text ? text : "Out of memory";
    fprintf(stderr, "Error: %s\n", text);
    const struct launch *launch = title_init(argc, argv);
    struct handover *handover;
    if (!launch || handover_read(&handover) < 0 || !handover || handover->newborn) {
        return 1;
    }
    handover_open_log(handover);
    log_error("%s", text);
    log_critical("The new release does not start");
    return retry_run(launch, handover);
}

int main(int argc, char **argv)
{
    struct buf error = {0};
    char *program = program_path(argv[0]);
    entry *serve = program ? load_server(program, &error) : NULL;
    int status = serve ? 0 : refuse(argc, argv, &error);
    free(program);
    buf_finish(&error);
    return serve ? serve(argc, argv) : status;
}

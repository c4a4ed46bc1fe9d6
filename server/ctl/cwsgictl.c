/* cwsgictl.c - looks after servers of cwsgi: finds the one that is meant, does what its command asks for. */
#include "server/ctl/cwsgictl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/cwd.h"
#include "server/ctl/ask.h"
#include "server/ctl/cron.h"
#include "server/ctl/find.h"
#include "server/ctl/launch.h"
#include "server/ctl/texts.h"
#include "server/ctl/top.h"

#define ANSWER_SECONDS 30

struct options {
    const char *self;     /* argv[0] */
    const char *instance; /* NULL: not said */
    const char *command;
    bool json, quiet, now, install;
    char **args; /* of the command */
    size_t n_args;
};

static int usage(const char *what, const char *which)
{
    fprintf(stderr, "cwsgictl: %s%s; see cwsgictl --help\n", what, which);
    return CTL_USAGE;
}

static int failed(const char *what, int r)
{
    fprintf(stderr, "cwsgictl: %s: %s\n", what,
            r == -EPIPE       ? "the server ended the connection: its log may say why"
            : r == -ETIMEDOUT ? "the server does not answer"
                              : strerror(-r));
    return CTL_FAILED;
}

/* Which server */

static void print_server(FILE *to, const struct server *s)
{
    static const char *const KEYS[] = {"state", "name", "address", "directory"};
    fprintf(to, "%ld", s->pid);
    for (size_t i = 0; i < sizeof(KEYS) / sizeof(KEYS[0]); i++) {
        size_t len;
        const char *v = find_value(s, KEYS[i], NULL, &len);
        fprintf(to, "  %.*s", v ? (int)len : 1, v ? v : "-");
        while (i == 2 && v && (v = find_value(s, KEYS[i], v, &len))) { /* all addresses */
            fprintf(to, ",%.*s", (int)len, v);
        }
    }
    fputc('\n', to);
}

/* The one server that is meant, in all->list[0]. CTL_OK, or an exit status, and why has been said. */
static int choose(const struct options *o, struct servers *all)
{
    int r = find_all(all);
    if (r < 0) {
        return failed("can't look for servers", r);
    }
    if (o->instance || all->n > 1) {
        find_keep(all, o->instance);
    }
    if (all->n == 0) {
        if (o->instance) {
            fprintf(stderr, "cwsgi is not running: no server is meant by '%s'\n", o->instance);
        } else {
            fprintf(stderr, "cwsgi is not running\n");
        }
        return CTL_NOT_RUNNING;
    }
    if ((all->n == 1 || o->instance) && find_is_silent(&all->list[0])) {
        fprintf(stderr, "cwsgictl: the server does not answer (pid %ld)\n", all->list[0].pid);
        return CTL_FAILED;
    }
    if (all->n > 1) {
        fprintf(stderr, "cwsgictl: several servers are running; say with -i which is meant:\n");
        for (size_t i = 0; i < all->n; i++) {
            print_server(stderr, &all->list[i]);
        }
        return CTL_FAILED;
    }
    return CTL_OK;
}

/* Commands */

/* Asks the server and shows its answer. */
static int ask_server(const struct options *o, const struct server *s, const char *line, unsigned seconds)
{
    struct ask a;
    struct buf text = {0};
    int r = ask_open(&a, s->socket, o->instance != NULL);
    if (r < 0) {
        return failed("can't talk to the server", r);
    }
    r = ask_line(&a, line, seconds, &text);
    ask_close(&a);
    if (r >= 0 && (!o->quiet || r != CTL_OK)) {
        bool shown = r == CTL_OK || strncmp(line, "status", 6) == 0;
        fwrite(text.data, 1, text.len, shown ? stdout : stderr);
    }
    buf_finish(&text);
    return r < 0 ? failed(line, r) : r;
}

static int ask_chosen(const struct options *o, const char *line, unsigned seconds)
{
    struct servers all = {0};
    int status = choose(o, &all);
    if (status == CTL_OK) {
        status = ask_server(o, &all.list[0], line, seconds);
    }
    find_finish(&all);
    return status;
}

static int tell(const struct options *o) /* status, config, dump, reopen: what its name says */
{
    char line[64];
    snprintf(line, sizeof(line), "%s%s", o->command, o->json ? " json" : "");
    return ask_chosen(o, line, ANSWER_SECONDS);
}

static int workers(const struct options *o)
{
    char line[64];
    if (o->n_args != 1 || strlen(o->args[0]) > 16 || strspn(o->args[0], "+-0123456789") != strlen(o->args[0])) {
        return usage("workers needs a number: +1, -1 or how many", "");
    }
    snprintf(line, sizeof(line), "workers %s", o->args[0]);
    return ask_chosen(o, line, ANSWER_SECONDS);
}

static int reload(const struct options *o)
{
    return ask_chosen(o, "reload", 0); /* the server bounds it: --timeout, reload_timeout */
}

/* By a descriptor of the process, so that no other one that gets its number is waited for. Before Linux 5.3 by that. */
static void await_end(int process, long pid)
{
    struct pollfd end = {.fd = process, .events = POLLIN};
    while (process >= 0 ? poll(&end, 1, -1) <= 0 : kill((pid_t)pid, 0) == 0 || errno == EPERM) {
        if (process < 0) {
            usleep(20000);
        }
    }
}

static int stop(const struct options *o)
{
    struct servers all = {0};
    struct ask a = {.fd = -1};
    struct buf text = {0};
    int status = choose(o, &all);
    if (status != CTL_OK) {
        find_finish(&all);
        return status == CTL_NOT_RUNNING ? CTL_OK : status; /* it is as it is wanted */
    }
    long pid = all.list[0].pid;
    int process = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    int r = ask_open(&a, all.list[0].socket, o->instance != NULL);
    r = r < 0 ? r : ask_line(&a, o->now ? "stop now" : "stop", 0, &text);
    ask_close(&a);
    buf_finish(&text);
    if (r == -EPIPE || r == -ECONNRESET) { /* it has ended, or is about to */
        await_end(process, pid);
        if (!o->quiet) {
            printf("cwsgi has stopped (pid %ld)\n", pid);
        }
        status = CTL_OK;
    } else {
        status = failed("stop", r < 0 ? r : -EPROTO);
    }
    if (process >= 0) {
        close(process);
    }
    find_finish(&all);
    return status;
}

/* cwsgi's own exit statuses say more, but 3 means something else here. */
static int start_status(int status)
{
    return status == CTL_OK || status == CTL_USAGE ? status : CTL_FAILED;
}

static int start(const struct options *o)
{
    long already;
    char *cwsgi = launch_path(o->self, "cwsgi");
    if (!cwsgi) {
        return failed("start", -ENOMEM);
    }
    int status = launch_start(cwsgi, o->args, o->n_args, o->quiet, &already);
    free(cwsgi);
    if (already > 0 && !o->quiet) {
        printf("cwsgi is running already (pid %ld)\n", already);
    }
    return start_status(status);
}

/* Its arguments are those that it was started with: a reload keeps them. */
static void compare_arguments(const struct options *o, const struct server *s)
{
    size_t i = 0, len;
    bool same = true;
    for (const char *v = NULL; (v = find_value(s, "argument", v, &len));) {
        if (len == 8 && memcmp(v, "--daemon", 8) == 0) {
            continue;
        }
        same = same && i < o->n_args && strlen(o->args[i]) == len && memcmp(o->args[i], v, len) == 0;
        i++;
    }
    if (!same || i != o->n_args) {
        printf("It keeps the arguments that it was started with, which are others: stop and start it for new ones\n");
    }
}

static int restart_running(const struct options *o, struct servers *all)
{
    if (o->n_args > 0) {
        compare_arguments(o, &all->list[0]);
    }
    return ask_server(o, &all->list[0], "reload", 0);
}

/* The server is known by its arguments, if there are any: only cwsgi can tell what they mean. */
static int restart(const struct options *o)
{
    struct servers all = {0};
    long already = 0;
    int status;
    if (o->n_args == 0) {
        status = choose(o, &all);
        status = status == CTL_OK                            ? restart_running(o, &all)
                 : status == CTL_NOT_RUNNING && !o->instance ? start(o)
                                                             : status;
        find_finish(&all);
        return status;
    }
    char *cwsgi = launch_path(o->self, "cwsgi");
    status = cwsgi ? launch_start(cwsgi, o->args, o->n_args, o->quiet, &already) : failed("restart", -ENOMEM);
    free(cwsgi);
    status = start_status(status);
    if (already > 0 && find_all(&all) == 0) {
        find_keep_pid(&all, already);
        status = all.n > 0 ? restart_running(o, &all) : failed("restart", -ECONNREFUSED);
        find_finish(&all);
    }
    return status;
}

static int top(const struct options *o)
{
    struct servers all = {0};
    int status = choose(o, &all);
    if (status == CTL_OK) {
        status = top_run(all.list[0].socket, o->instance != NULL);
    }
    find_finish(&all);
    return status;
}

static int list(const struct options *o)
{
    struct servers all = {0};
    int r = find_all(&all);
    if (r < 0) {
        return failed("can't look for servers", r);
    }
    if (o->json) {
        fputs("[", stdout);
    }
    for (size_t i = 0; i < all.n; i++) {
        if (o->json) {
            fputs(i > 0 ? "," : "", stdout);
        }
        if (o->json && find_is_silent(&all.list[i])) {
            printf("{\"pid\":%ld,\"state\":\"%s\"}", all.list[i].pid, FIND_SILENT);
        } else if (o->json) {
            ask_server(o, &all.list[i], "identity json", ANSWER_SECONDS);
        } else {
            print_server(stdout, &all.list[i]);
        }
    }
    if (o->json) {
        puts("]");
    }
    int status = all.n > 0 ? CTL_OK : CTL_NOT_RUNNING;
    if (status == CTL_NOT_RUNNING && !o->json) {
        fprintf(stderr, "No cwsgi is running\n");
    }
    find_finish(&all);
    return status;
}

/* The words of a running server: its own arguments, as strings that the caller owns. */
static char **arguments_of(const struct server *s, size_t *n)
{
    size_t len;
    char **v = NULL;
    *n = 0;
    for (const char *a = NULL; (a = find_value(s, "argument", a, &len));) {
        char **more = reallocarray(v, *n + 2, sizeof(*more));
        if (!more) {
            break;
        }
        v = more;
        if ((*n > 0 || len != 8 || memcmp(a, "--daemon", 8) != 0) && (v[*n] = strndup(a, len))) {
            ++*n;
        }
    }
    return v;
}

static int cron(const struct options *o)
{
    char *self = launch_path(o->self, "cwsgictl");
    int status = CTL_FAILED;
    if (o->n_args > 0) {
        char *here = cwd_logical();
        status = self && here ? cron_write(self, here, o->args, o->n_args, o->install) : failed("cron", -ENOMEM);
        free(here);
    } else {
        struct servers all = {0};
        status = choose(o, &all);
        if (status == CTL_OK) {
            size_t n, len = 0;
            const char *folder = find_value(&all.list[0], "started_in", NULL, &len);
            char *path = folder ? strndup(folder, len) : NULL, **args = arguments_of(&all.list[0], &n);
            status = self && path ? cron_write(self, path, args, n, o->install) : failed("cron", -ENOMEM);
            for (size_t i = 0; i < n; i++) {
                free(args[i]);
            }
            free(args);
            free(path);
        } else if (status == CTL_NOT_RUNNING) {
            fprintf(stderr, "Say with which arguments it is to be started: cwsgictl cron ARGUMENT...\n");
        }
        find_finish(&all);
    }
    free(self);
    return status;
}

static const struct {
    const char *name;
    int (*run)(const struct options *o);
    bool verbatim;
    size_t most;
} COMMANDS[] = {
#define COMMAND(name, arguments, run, verbatim, most, help) {name, run, verbatim, most},
#include "server/ctl/commands.def"
#undef COMMAND
};
#define N_COMMANDS (sizeof(COMMANDS) / sizeof(COMMANDS[0]))

/* The command line */

/* One of our own options at argv[*i]. -1: it is none; else an exit status, CTL_OK to go on. */
static int take_option(struct options *o, char **argv, int argc, int *i)
{
    const char *a = argv[*i];
    if (strcmp(a, "-i") == 0 || strcmp(a, "--instance") == 0) {
        if (*i + 1 == argc) {
            return usage("which instance? A word must follow ", a);
        }
        o->instance = argv[++*i];
    } else if (strncmp(a, "--instance=", 11) == 0) {
        o->instance = a + 11;
    } else if (strcmp(a, "--json") == 0) {
        o->json = true;
    } else if (strcmp(a, "-q") == 0 || strcmp(a, "--quiet") == 0) {
        o->quiet = true;
    } else if (strcmp(a, "--now") == 0) {
        o->now = true;
    } else if (strcmp(a, "--install") == 0) {
        o->install = true;
    } else {
        return -1;
    }
    return CTL_OK;
}

static int run(struct options *o, size_t which, char **argv, int argc, int i)
{
    char **args = calloc((size_t)argc, sizeof(*args));
    int status = CTL_OK;
    if (!args) {
        return failed(o->command, -ENOMEM);
    }
    o->args = args;
    for (; i < argc && status == CTL_OK; i++) {
        bool ours = !COMMANDS[which].verbatim ||
                    (COMMANDS[which].run == cron && o->n_args == 0 && strcmp(argv[i], "--install") == 0);
        int r = ours ? take_option(o, argv, argc, &i) : -1;
        if (r >= 0) {
            status = r;
        } else if (!COMMANDS[which].verbatim && o->n_args == COMMANDS[which].most) {
            status = usage("what is this: ", argv[i]);
        } else {
            args[o->n_args++] = argv[i];
        }
    }
    if (status == CTL_OK) {
        status = COMMANDS[which].run(o);
        if (fflush(stdout) != 0 && status == CTL_OK) {
            status = CTL_FAILED;
        }
    }
    free(args);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {.self = argv[0]};
    signal(SIGPIPE, SIG_DFL);
    for (int i = 1; i < argc; i++) {
        int r = take_option(&o, argv, argc, &i);
        if (r > 0) {
            return r;
        }
        if (r == 0) {
            continue;
        }
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            texts_help();
            return CTL_OK;
        }
        if (strcmp(argv[i], "--version") == 0) {
            printf("cwsgictl (version %s)\n", CWSGI_VERSION);
            return CTL_OK;
        }
        if (strcmp(argv[i], "--describe") == 0) {
            return i + 1 < argc && texts_describe(argv[i + 1]) ? CTL_OK
                                                               : usage("--describe takes man, bash, zsh or fish", "");
        }
        o.command = argv[i];
        for (size_t c = 0; c < N_COMMANDS; c++) {
            if (strcmp(COMMANDS[c].name, argv[i]) == 0) {
                return run(&o, c, argv, argc, i + 1);
            }
        }
        return usage(argv[i][0] == '-' ? "there is no option " : "there is no command ", argv[i]);
    }
    texts_help();
    return CTL_USAGE;
}

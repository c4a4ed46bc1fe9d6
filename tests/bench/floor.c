/* floor.c - cwsgi's worker with a constant answer in C where the application would be: what the network part costs.
 * `floor -b 127.0.0.1:PORT x`: the arguments are cwsgi's own. One process; plain HTTP; SIGTERM ends it. */
#include <stdio.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/config/cli.h"
#include "server/config/settings.h"
#include "server/exec/app.h"
#include "server/http/exchange.h"
#include "server/net/listener.h"
#include "server/process/hooks.h"
#include "server/process/worker.h"
#include "server/process/workersignals.h"

#define HELLO "Hello, World!"

static void nothing(struct app *a)
{
    (void)a;
}

static enum app_result on_begin(struct app *a, struct exchange *x)
{
    (void)a;
    static const struct chunk BODY = {.data = HELLO, .len = sizeof(HELLO) - 1, .fd = -1};
    struct response *r = &x->response;
    if (response_start(r, STR("200 OK")) != RESPONSE_OK ||
        response_add(r, STR("Content-Type"), STR("text/plain")) != RESPONSE_OK ||
        response_add(r, STR("Content-Length"), STR("13")) != RESPONSE_OK || response_push(r, &BODY) < 0) {
        return APP_FAILED;
    }
    response_end(r);
    return APP_DONE;
}

static enum app_result on_next(struct app *a, struct exchange *x)
{
    (void)a, (void)x;
    return APP_DONE;
}

static void on_end(struct app *a, struct exchange *x)
{
    (void)a, (void)x;
}

static int reap_pending(const struct app *a)
{
    (void)a;
    return 0;
}

int main(int argc, char **argv)
{
    struct app app = {
        .attach = nothing,
        .detach = nothing,
        .leave = nothing,
        .begin = on_begin,
        .next = on_next,
        .end = on_end,
        .reap_pending = reap_pending,
        .reap = nothing,
    };
    struct buf error = {0};
    struct cli cli;
    struct settings settings;
    struct listeners listeners;
    struct scoreboard *scoreboard;
    struct hooks hooks = {0}; /* none is called on the way that this takes */
    int alive[2], ready[2];

    if (!cli_parse(&cli, argc, argv, &error) || settings_init(&settings, &error) < 0 ||
        cli_apply(&cli, &settings, &error) < 0 || settings_check(&settings, &error) < 0 ||
        log_open(settings.errorlog, settings_log_level(&settings)) < 0 ||
        listeners_open(&listeners, &settings, NULL, &error) < 0 || scoreboard_create(&scoreboard, 1) < 0 ||
        pipe(alive) < 0 || pipe(ready) < 0) {
        fprintf(stderr, "floor: %s\n", error.len > 0 ? buf_cstr(&error) : "cannot start");
        return 1;
    }
    const struct seat seat = {.slot = 0, .age = 1, .master_fd = alive[0], .ready_fd = ready[1]};
    const struct worker_deps deps = {
        .settings = &settings,
        .listeners = &listeners,
        .scoreboard = scoreboard,
        .app = &app,
        .hooks = &hooks,
    };
    workersignals_reset();
    return worker_run(&seat, &deps);
}

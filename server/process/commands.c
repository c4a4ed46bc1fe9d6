/* commands.c - does what the lines of the control socket ask for. */
#include "server/process/commands.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/scoreboard.h"
#include "server/config/settings.h"
#include "server/process/control.h"
#include "server/process/facts.h"
#include "server/process/master_inside.h"
#include "server/process/orders.h"
#include "server/process/stackdump.h"
#include "server/process/status.h"

struct request {
    struct client *k;
    const char *argument; /* NULL: none */
    bool json;
};

/* Sends what `r` says about the text, and frees it. */
static void show(struct client *k, int status, int r, struct buf *text)
{
    if (r < 0) {
        client_done_text(k, 1, "The server is short of memory\n");
    } else {
        client_done(k, status, text->data, text->len);
    }
    buf_finish(text);
}

static void identity(struct master *m, const struct request *q)
{
    struct buf text = {0};
    show(q->k, 0, status_identity(m, q->json, &text), &text);
}

static void status(struct master *m, const struct request *q)
{
    struct buf text = {0};
    show(q->k, facts_serves(m) ? 0 : 1, status_show(m, q->json, &text), &text);
}

static void top(struct master *m, const struct request *q)
{
    struct buf text = {0};
    show(q->k, 0, status_top(m, &q->k->tally, &q->k->tally_us, &text), &text);
}

static void config(struct master *m, const struct request *q)
{
    struct buf text = {0};
    const struct settings *s = m->deps.settings;
    show(q->k, 0, q->json ? settings_print_json(s, &text) : settings_print(s, &text), &text);
}

static void reload(struct master *m, const struct request *q)
{
    orders_reload(m);
    q->k->waiting = WAITS_FOR_TRIAL;
    q->k->number = m->reload.number;
}

static void reopen(struct master *m, const struct request *q)
{
    orders_reopen(m);
    client_done_text(q->k, 0, "The log files were opened again\n");
}

static void workers(struct master *m, const struct request *q)
{
    const char *text = q->argument ? q->argument : "";
    char *end;
    int before = m->wanted, most = settings_max("workers");
    long n = strtol(text, &end, 10);
    if (end == text || *end || n > most || n < -most) {
        client_done_text(q->k, 2, "How many workers? +1, -1 or a number\n");
        return;
    }
    n += *text == '+' || *text == '-' ? before : 0;
    if (n < 1 || n > most) {
        client_done_text(q->k, 1, "There are %d workers; from 1 to %d there may be\n", before, most);
        return;
    }
    orders_resize(m, (int)n);
    client_done_text(q->k, 0, "%ld workers, before: %d\n", n, before);
}

static void dump(struct master *m, const struct request *q)
{
    for (size_t i = 0; i < m->children.n; i++) {
        stackdump_ask(m->deps.stackdump, m->children.list[i].pid);
    }
    q->k->number = stackdump_listen(m->deps.stackdump);
    q->k->waiting = WAITS_FOR_STACKS;
}

static void stop(struct master *m, const struct request *q)
{
    bool now = q->argument && strcmp(q->argument, "now") == 0;
    q->k->waiting = WAITS_FOR_END;
    master_stop(m, now);
}

static const struct {
    const char *name;
    void (*run)(struct master *m, const struct request *q);
    bool acts;     /* and so it is worth a line in the log */
    bool stopping; /* it makes sense also when the server stops */
} COMMANDS[] = {
    {"identity", identity, false, true}, {"status", status, false, true}, {"top", top, false, true},
    {"config", config, false, true},     {"reload", reload, true, false}, {"reopen", reopen, true, true},
    {"workers", workers, true, false},   {"dump", dump, true, true},      {"stop", stop, true, true},
};

void commands_obey(struct master *m, struct client *k, char *line)
{
    struct request q = {.k = k};
    char *rest = NULL, *name = strtok_r(line, " ", &rest);
    for (char *word; name && (word = strtok_r(NULL, " ", &rest));) {
        if (strcmp(word, "json") == 0) {
            q.json = true;
        } else {
            q.argument = word;
        }
    }
    for (size_t i = 0; name && i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (strcmp(COMMANDS[i].name, name) != 0) {
            continue;
        }
        if (COMMANDS[i].acts) {
            log_info("Command: %s%s%s", name, q.argument ? " " : "", q.argument ? q.argument : "");
        }
        if (m->stage >= STOPPING && !COMMANDS[i].stopping) {
            client_done_text(k, 1, "The server is stopping\n");
        } else {
            COMMANDS[i].run(m, &q);
        }
        return;
    }
    client_done_text(k, 2, "This server does not know the command '%s'\n", name ? name : "");
}

/* Answers that take a while */

/* Tells of the trial; when it was good, the next image goes on with this client. */
static void tell_trial(const struct master *m, struct client *k)
{
    const struct reload *r = &m->reload;
    if (r->number != k->number) {
        client_done_text(k, 1, "Another reload has begun meanwhile\n");
    } else if (r->state == RELOAD_REFUSED) {
        client_done(k, 1, r->said.data, r->said.len);
    } else if (m->stage >= STOPPING) {
        client_done_text(k, 1, "The server is stopping\n");
    }
}

/* No worker of an older release takes new connections any more. */
static bool are_old_ones_leaving(const struct master *m)
{
    for (size_t i = 0; i < m->children.n; i++) {
        const struct child *c = &m->children.list[i];
        const struct slot *s = children_slot(&m->children, c);
        if (c->phase == CHILD_STALE || (c->phase == CHILD_LEAVING && s && atomic_load(&s->state) == SLOT_READY)) {
            return false;
        }
    }
    return true;
}

static void tell_workers(const struct master *m, struct client *k)
{
    const struct board *b = scoreboard_board(m->deps.scoreboard);
    size_t ready = children_count(&m->children, CHILD_READY);
    if (m->stage >= STOPPING) {
        client_done_text(k, 1, "The server is stopping\n");
    } else if (ready >= (size_t)m->wanted && are_old_ones_leaving(m)) {
        client_done_text(k, 0, "Reloaded: generation %u, %zu workers, pid %ld\n", atomic_load(&b->generation), ready,
                         (long)getpid());
    } else if (m->boot.at_us > 0) {
        client_done_text(k, 1,
                         "The new release was loaded, but its workers do not start: the server log says why. "
                         "The old ones go on serving, and new ones are tried again\n");
    }
}

static void tell_stacks(struct master *m, struct client *k)
{
    const struct buf *text = stackdump_round(m->deps.stackdump, k->number);
    if (text) {
        client_done(k, 0, text->data, text->len);
    }
}

void commands_tend(struct master *m, struct client *k)
{
    switch (k->waiting) {
    case WAITS_FOR_TRIAL:
        tell_trial(m, k);
        break;
    case WAITS_FOR_WORKERS:
        tell_workers(m, k);
        break;
    case WAITS_FOR_STACKS:
        tell_stacks(m, k);
        break;
    case WAITS_FOR_NOTHING:
    case WAITS_FOR_END:
        break;
    }
}

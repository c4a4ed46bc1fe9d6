/* ownpages.h - what the server itself answers, without the application, also while all workers compute: metrics on the
 * listener of --metrics-bind, and at --status-path a page for people, with its data as JSON at PATH?json.
 * The page is for who comes from this machine, without a front end in between, and for who knows --status-auth. Loop
 * thread only. */
#pragma once

#include <stdbool.h>

#include "server/base/str.h"

struct certs;
struct exchange;
struct listeners;
struct scoreboard;
struct settings;

struct ownfacts { /* all borrowed */
    const struct settings *settings;
    const struct scoreboard *scoreboard;
    const struct listeners *listeners;
    const struct certs *certs; /* that serve now; NULL: no TLS */
};

/* Whether the answer to this request is ownpages_answer. */
bool ownpages_wanted(const struct ownfacts *f, const struct exchange *x);

/* Fills the response. 0 or -ENOMEM. */
int ownpages_answer(const struct ownfacts *f, struct exchange *x);

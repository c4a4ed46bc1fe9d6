/* replies.h - what a client makes of the bytes that it got: answers one after another, each framed as RFC 9112 says.
 * They must be the application's answers, in order, each once; one of the server's own may be the last. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct fake_app;

struct replies {
    int refused;      /* status of the server's own answer at the end; 0: none */
    const char *page; /* borrowed from the bytes: what it says */
    size_t page_len;
    bool closing; /* the last answer says that the connection ends */
    bool cut;     /* the last answer is not complete */
};

/* `may_be_cut`: the client has left, or was given up. Does not return when something is wrong. */
struct replies replies_check(const char *data, size_t len, const struct fake_app *a, bool may_be_cut);

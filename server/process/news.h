/* news.h - what the master waits for between two turns of its loop.
 * Modules add their descriptors anew before each wait (X_await), and look at them by themselves in the next turn:
 * they are non-blocking, so one without news costs a system call at most. */
#pragma once

#include <poll.h>
#include <stddef.h>

#define NEWS_MAX 64 /* what finds no room waits for other news: modules bound their clients so that this cannot be */

struct news { /* zero n */
    size_t n;
    struct pollfd list[NEWS_MAX];
};

static inline void news_add(struct news *n, int fd, short events)
{
    if (fd >= 0 && n->n < NEWS_MAX) {
        n->list[n->n++] = (struct pollfd){.fd = fd, .events = events};
    }
}

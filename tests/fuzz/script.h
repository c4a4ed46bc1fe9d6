/* script.h - an input in two parts: its first line decides what happens, the rest is what is parsed.
 * A character of the first line counts from '0' on, so that seeds can be written by hand: "0", "1", "2" are 0, 1, 2.
 * What is behind its end counts as 0. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/base/str.h"

#define SCRIPT_MAX 32

struct script {
    struct str line; /* borrowed; without the line break */
    struct str rest; /* borrowed */
};

static inline struct script script_of(const uint8_t *data, size_t len)
{
    const char *p = (const char *)data;
    size_t most = len < SCRIPT_MAX ? len : SCRIPT_MAX;
    const char *lf = most ? memchr(p, '\n', most) : NULL;
    size_t n = lf ? (size_t)(lf - p) : most;
    size_t skip = lf ? n + 1 : n;
    return (struct script){{p, n}, {p + skip, len - skip}};
}

static inline unsigned script_at(const struct script *s, size_t i)
{
    return i < s->line.len ? (unsigned char)(s->line.p[i] - '0') : 0;
}

/* The same for a choice that has to be taken again and again: the characters from `first` on take turns. */
static inline unsigned script_turn(const struct script *s, size_t first, size_t i)
{
    return s->line.len > first ? script_at(s, first + i % (s->line.len - first)) : 0;
}

/* The next line of a text, which is shortened by it; without its end, and empty when there is none. Borrowed. */
static inline struct str script_next_line(struct str *text)
{
    const char *lf = text->len ? memchr(text->p, '\n', text->len) : NULL;
    struct str line = {text->p, lf ? (size_t)(lf - text->p) : text->len};
    size_t skip = line.len + (lf != NULL);
    *text = (struct str){text->p + skip, text->len - skip};
    return line;
}

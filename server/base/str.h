/* str.h - a borrowed pointer and a length; never NUL-terminated by promise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct str {
    const char *p; /* borrowed */
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})

static inline struct str str_of(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* ASCII case is ignored: what HTTP asks for in names of fields and tokens. Not strncasecmp, which follows the locale
 * that an application may set: in a Turkish one, I is not the capital of i. */
static inline bool str_ieq(struct str a, struct str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        unsigned char c = (unsigned char)a.p[i], lower = c | 0x20;
        if (c != (unsigned char)b.p[i] && (lower != ((unsigned char)b.p[i] | 0x20) || lower < 'a' || lower > 'z')) {
            return false;
        }
    }
    return true;
}

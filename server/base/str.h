/* str.h - a borrowed pointer and a length; never NUL-terminated by promise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "server/base/ascii.h"

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

/* ASCII case is ignored: what HTTP asks for in names of fields and tokens. */
static inline bool str_ieq(struct str a, struct str b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (a.p[i] != b.p[i] && ascii_lower(a.p[i]) != ascii_lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

static inline bool str_ends(struct str s, struct str end)
{
    return s.len >= end.len && str_eq((struct str){s.p + s.len - end.len, end.len}, end);
}

/* Does it begin so? ASCII case is ignored, as above. */
static inline bool str_ibegins(struct str s, struct str start)
{
    return s.len >= start.len && str_ieq((struct str){s.p, start.len}, start);
}

/* chars.c - the character classes of RFC 9110. */
#include "server/http/chars.h"

#include <stdint.h>

static const bool TCHAR[256] = {
    ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true,         ['&'] = true,         ['\''] = true,
    ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,         ['^'] = true,         ['_'] = true,
    ['`'] = true, ['|'] = true, ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
};

bool chars_are_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!TCHAR[(unsigned char)s.p[i]]) {
            return false;
        }
    }
    return s.len > 0;
}

static bool is_field_char(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

bool chars_are_field_text(struct str s)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    size_t i = 0;

    /* Eight bytes at a time: a high bit is left where a byte is below 0x20 or is 0x7f; HTAB is sorted out below. */
    for (; i + 8 <= s.len; i += 8) {
        uint64_t w;
        memcpy(&w, s.p + i, 8);
        uint64_t del = w ^ (ones * 0x7f);
        uint64_t suspects = ((w - ones * 0x20) | (del - ones)) & highs;
        if (suspects) {
            for (size_t k = i; k < i + 8; k++) {
                if (!is_field_char((unsigned char)s.p[k])) {
                    return false;
                }
            }
        }
    }
    for (; i < s.len; i++) {
        if (!is_field_char((unsigned char)s.p[i])) {
            return false;
        }
    }
    return true;
}

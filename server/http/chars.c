/* chars.c - the character classes of RFC 9110. */
#include "server/http/chars.h"

#include <stdint.h>

/* RFC 9110 5.6.2, a bit for each ASCII character: !#$%&'*+-.^_`|~, digits, letters. */
static const uint32_t TCHAR[8] = {0x00000000, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};

bool chars_are_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (!(TCHAR[c / 32] >> (c % 32) & 1)) {
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

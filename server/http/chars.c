/* chars.c - the character classes of RFC 9110 and RFC 3986. */
#include "server/http/chars.h"

#include <stdint.h>

/* A bit for each character. RFC 9110 5.6.2: !#$%&'*+-.^_`|~, digits, letters. */
static const uint32_t TCHAR[8] = {0x00000000, 0x03ff6cfa, 0xc7fffffe, 0x57ffffff};
/* RFC 3986 3.2.2: -._~!$&'()*+,;=, digits, letters. */
static const uint32_t HOST[8] = {0x00000000, 0x2bff7fd2, 0x87fffffe, 0x47fffffe};

static bool is_in(const uint32_t class[8], char c)
{
    unsigned char i = (unsigned char)c;
    return class[i / 32] >> (i % 32) & 1;
}

bool chars_are_token(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!is_in(TCHAR, s.p[i])) {
            return false;
        }
    }
    return s.len > 0;
}

bool chars_is_host(char c)
{
    return is_in(HOST, c);
}

static bool is_field_char(unsigned char c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

/* A high bit is left where one of eight bytes is below 0x20 or is 0x7f; HTAB is sorted out below. */
static bool is_suspect(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t w;
    memcpy(&w, p, 8);
    uint64_t del = w ^ (ones * 0x7f);
    return ((w - ones * 0x20) | (del - ones)) & highs;
}

bool chars_are_field_text(struct str s)
{
    size_t i = 0;
    while (i + 8 <= s.len && !is_suspect(s.p + i)) {
        i += 8;
    }
    if (i < s.len && s.len >= 8 && i + 8 > s.len && !is_suspect(s.p + s.len - 8)) {
        return true; /* the last eight overlap those before */
    }
    for (; i < s.len; i++) {
        if (!is_field_char((unsigned char)s.p[i])) {
            return false;
        }
    }
    return true;
}

/* latin1.c - str objects of bytes: each byte becomes the character of the same number. */
#include "wsgi/latin1.h"

#include <string.h>

#include "server/base/digits.h"

PyObject *latin1_new(struct str s)
{
    return PyUnicode_DecodeLatin1(s.p, (Py_ssize_t)s.len, NULL);
}

PyObject *latin1_number(uint64_t n)
{
    char digits[DIGITS_MAX];

    return latin1_new((struct str){digits, digits_put(digits, n, 10)});
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

PyObject *latin1_decoded(struct str s)
{
    char small[512];
    size_t n = 0;

    if (s.len == 0 || !memchr(s.p, '%', s.len)) {
        return latin1_new(s);
    }
    char *out = s.len <= sizeof(small) ? small : PyMem_Malloc(s.len);
    if (!out) {
        return PyErr_NoMemory();
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '%' && s.len - i > 2) {
            int high = hex_digit(s.p[i + 1]);
            int low = hex_digit(s.p[i + 2]);
            if (high >= 0 && low >= 0) {
                out[n++] = (char)(high * 16 + low);
                i += 2;
                continue;
            }
        }
        out[n++] = s.p[i];
    }
    PyObject *text = latin1_new((struct str){out, n});
    if (out != small) {
        PyMem_Free(out);
    }
    return text;
}

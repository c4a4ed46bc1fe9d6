/* digits.h - numbers as text, where printf would cost ten times as much. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DIGITS_MAX 20 /* of 64 bits, in decimal */

/* Without a terminating zero; how many. `base`: 10 or 16, in small letters. */
static inline size_t digits_put(char text[DIGITS_MAX], uint64_t number, unsigned base)
{
    char digits[DIGITS_MAX], *first = digits + sizeof(digits);
    do {
        *--first = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    size_t n = (size_t)(digits + sizeof(digits) - first);
    memcpy(text, first, n);
    return n;
}

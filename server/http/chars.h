/* chars.h - the character classes of RFC 9110 5.5 and 5.6.2, RFC 9112 2.2 and RFC 3986 3.2.2: what may stand in names
 * and values. The C library's are no help, since they follow the locale that an application may set. */
#pragma once

#include <stdbool.h>

#include "server/base/str.h"

bool chars_are_token(struct str s);      /* one or more tchar: a field name or a method */
bool chars_are_field_text(struct str s); /* no control character but HTAB: a field value or a line of a head */
bool chars_is_host(char c);              /* in a registered name, which may also hold %XX */

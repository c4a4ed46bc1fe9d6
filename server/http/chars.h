/* chars.h - the character classes of RFC 9110 5.5 and 5.6.2, and RFC 9112 2.2: what may stand in names and values. */
#pragma once

#include <stdbool.h>

#include "server/base/str.h"

bool chars_are_token(struct str s);      /* one or more tchar: a field name or a method */
bool chars_are_field_text(struct str s); /* no control character but HTAB: a field value or a line of a head */

/* reread.h - reads again, from the bytes that the client sent, the request that the application is given.
 * A second reader, and a narrow one: RFC 9112 to the letter, no second chance. What the server accepts must be there
 * byte for byte, and must end where this reader says that it ends: else the next request begins somewhere else for a
 * proxy that reads to the letter. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct exchange;

/* `at`: where the request before it ended. Returns where this one ends. Does not return when the two readers differ. */
size_t reread_request(const char *raw, size_t len, size_t at, const struct exchange *x);

/* Could a request still be answered from `at` on: is there a complete head? */
bool reread_has_head(const char *raw, size_t len, size_t at);

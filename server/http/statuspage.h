/* statuspage.h - a page for people that shows what the server does, and its data. The page is made from
 * statuspage.html, has all that it needs in it, and asks for the data every two seconds. */
#pragma once

#include <stddef.h>

struct buf;
struct ownfacts;

/* What is in the page itself may run; nothing is loaded but its data. */
#define STATUSPAGE_POLICY                                                                                              \
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "   \
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

extern const char statuspage_html[];
extern const size_t statuspage_html_len;

int statuspage_write(const struct ownfacts *f, struct buf *out); /* appends JSON; 0 or -ENOMEM */

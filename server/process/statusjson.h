/* statusjson.h - what a master says of itself and its workers, as JSON. Each appends to `out`: 0 or -ENOMEM. */
#pragma once

struct buf;
struct master;
struct tally;

int statusjson_identity(const struct master *m, struct buf *out); /* which server this is */
int statusjson_show(const struct master *m, const struct tally *t, struct buf *out);

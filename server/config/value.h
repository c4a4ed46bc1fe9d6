/* value.h - one setting's value: from text, and in memory. Serves settings.c alone. */
#pragma once

#include "server/config/settings.h"

union value {            /* which member: the row's type */
    struct strings list; /* first, since it is the largest: {0} clears no more than the first member */
    char *text;
    int number;
    size_t size;
    bool flag;
};

/* The C type of a row's value; several types of rows share one. */
enum value_kind { VALUE_TEXT, VALUE_INT, VALUE_SIZE, VALUE_BOOL, VALUE_LIST };

enum value_kind value_kind(const struct setting *row);

/* n texts into a value of the row's type; n == 0 is Python's None. 0, or -1 with "Invalid value for NAME: ..." in
 * `error` and nothing to free. */
int value_parse(union value *v, const struct setting *row, const char *const *texts, size_t n,
                enum settings_source source, struct buf *error);
void value_finish(union value *v, const struct setting *row);

/* A member of struct settings as a value (borrowed), and the other way round (moved; what was there is freed). */
union value value_load(const void *member, const struct setting *row);
void value_store(void *member, const union value *v, const struct setting *row);

bool value_is_empty(const union value *v, const struct setting *row); /* a text or list that was given, of length 0 */
long long value_max(const struct setting *row);                       /* the greatest number that the row allows */
int value_choice(const struct setting *row, const char *text);        /* which of the row's "a|b|c", or -1 */

/* Writes "Invalid value for NAME: VALUE: SENTENCE (from SOURCE)". Returns -1. */
int value_invalid(struct buf *error, const struct setting *row, const char *value, enum settings_source source,
                  const char *sentence);

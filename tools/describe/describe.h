/* describe.h - the table of settings as texts for people and shells. Each function writes to stdout. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct setting;

void print_manual(void);   /* cwsgi.1 */
void print_markdown(void); /* docs/settings.md */
void print_bash(void);
void print_zsh(void);
void print_fish(void);

/* All rows, those of --help and --version first, heads of sections among them: NULL begins, NULL ends. */
const struct setting *row_next(const struct setting *row);

struct flags { /* "-b,--bind ADDRESS" in pieces, borrowed from the row; empty for a setting without flags */
    struct {
        const char *p;
        size_t len;
    } v[4];
    size_t n;
    const char *metavar; /* NULL: takes no value */
    size_t metavar_len;
    bool optional; /* the value may be left out */
};
struct flags row_flags(const struct setting *row);

bool row_works(const struct setting *row);   /* worth offering: it has flags, and an effect */
bool row_repeats(const struct setting *row); /* several flags add up */

/* Gives each of the row's choices that is a plain word; how many there are. `each` may be NULL. */
size_t row_choices(const struct setting *row, void (*each)(const char *word, size_t len));

/* What a value may be: "one of a, b", "a whole number from 1 to 9"; "": anything. In a buffer of its own. */
const char *row_allowed(const struct setting *row);

enum value_kind { VALUE_TEXT, VALUE_CHOICE, VALUE_FILE, VALUE_DIR, VALUE_USER, VALUE_GROUP };
enum value_kind row_value_kind(const struct setting *row); /* of a row that takes a value */

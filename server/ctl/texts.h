/* texts.h - the table of cwsgictl's commands and options, and what is made from it: help, man page, completions. */
#pragma once

#include <stdbool.h>

struct command_row {
    const char *name;
    const char *arguments; /* "" when it takes none */
    const char *help;      /* one line, without a full stop */
};

struct option_row {
    const char *flags; /* "-i,--instance WHICH" */
    const char *help;
};

extern const struct command_row texts_commands[]; /* the last has no name */
extern const struct option_row texts_options[];

void texts_help(void);                 /* to stdout, as all of them */
bool texts_describe(const char *kind); /* "man", "bash", "zsh", "fish"; false: there is no such kind */

/* words.h - a text into words, as a shell splits a command line: white space, both kinds of quotes, backslashes;
 * nothing is expanded. */
#pragma once

struct strings;

/* `words` must be empty. 0, -EINVAL when a quote or a backslash has no end, or -ENOMEM; on failure it is empty still.
 */
int words_split(const char *text, struct strings *words);
void words_finish(struct strings *words); /* any list of texts; it is empty then */

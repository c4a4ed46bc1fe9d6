/* words.c - a text into words, as a shell splits a command line. */
#include "server/config/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/config/settings.h"

#define SPACE " \t\r\n"

/* Takes one word from *text. 1: a word, 0: the end, or -errno. */
static int next_word(const char **text, struct buf *word)
{
    const char *p = *text + strspn(*text, SPACE);
    char quote = '\0';

    word->len = 0;
    if (*p == '\0') {
        return 0;
    }
    for (; *p && (quote || !strchr(SPACE, *p)); p++) {
        char c = *p;
        if (quote ? c == quote : c == '\'' || c == '"') {
            quote = quote ? '\0' : c;
            continue;
        }
        if (c == '\\' && quote != '\'') {
            if (p[1] == '\0') {
                return -EINVAL;
            }
            /* Between double quotes a backslash stands for itself, unless it protects one of these two. */
            if (quote != '"' || p[1] == '"' || p[1] == '\\') {
                c = *++p;
            }
        }
        if (buf_append(word, &c, 1) < 0) {
            return -ENOMEM;
        }
    }
    *text = p;
    return quote ? -EINVAL : 1;
}

void words_finish(struct strings *words)
{
    for (size_t i = 0; i < words->n; i++) {
        free(words->v[i]);
    }
    free(words->v);
    *words = (struct strings){0};
}

int words_split(const char *text, struct strings *words)
{
    struct buf word = {0};
    int r;
    while ((r = next_word(&text, &word)) > 0) {
        char **v = reallocarray(words->v, words->n + 1, sizeof(*v));
        if (!v) {
            r = -ENOMEM;
            break;
        }
        words->v = v;
        v[words->n] = strndup(word.data ? word.data : "", word.len);
        if (!v[words->n]) {
            r = -ENOMEM;
            break;
        }
        words->n++;
    }
    buf_finish(&word);
    if (r < 0) {
        words_finish(words);
    }
    return r;
}

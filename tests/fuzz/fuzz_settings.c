/* fuzz_settings.c - any command line and any environment: a verdict or a sentence, and settings that print.
 * Lines of the input are arguments; one that begins with "\1" is GUNICORN_CMD_ARGS, "\2" WEB_CONCURRENCY, "\3" PORT,
 * "\4" FORWARDED_ALLOW_IPS. Text that splits into words must split into the same words once it is quoted. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/buf.h"
#include "server/base/log.h"
#include "server/base/network.h"
#include "server/config/cli.h"
#include "server/config/settings.h"
#include "server/config/value.h"
#include "server/config/valueout.h"
#include "server/config/words.h"
#include "server/net/allow.h"
#include "tests/fuzz/check.h"

#define ARGS_MAX 32

static const char *const VARIABLES[] = {"GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "PORT", "FORWARDED_ALLOW_IPS"};
#define N_VARIABLES (sizeof(VARIABLES) / sizeof(VARIABLES[0]))

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_open("/dev/null", LOG_LEVEL_DEBUG);
    return 0;
}

/* `text` in single quotes, as a shell wants it. */
static void quote(struct buf *out, const char *text)
{
    int r = buf_puts(out, "'");
    for (; *text; text++) {
        r |= *text == '\'' ? buf_puts(out, "'\"'\"'") : buf_append(out, text, 1);
    }
    CHECK((r | buf_puts(out, "' ")) == 0, "memory");
}

static void check_words(const char *text)
{
    struct strings words = {0}, again = {0};
    struct buf quoted = {0};
    if (words_split(text, &words) == 0) {
        for (size_t i = 0; i < words.n; i++) {
            quote(&quoted, words.v[i]);
        }
        CHECK(words_split(quoted.len ? buf_cstr(&quoted) : "", &again) == 0 && again.n == words.n, "other words");
        for (size_t i = 0; i < words.n; i++) {
            CHECK(strcmp(words.v[i], again.v[i]) == 0, "another word: %s, %s", words.v[i], again.v[i]);
        }
    } else {
        CHECK(words.n == 0 && !words.v, "words in spite of a failure");
    }
    words_finish(&again);
    words_finish(&words);
    buf_finish(&quoted);
}

/* Every row takes the text or says why not; what it takes can be printed. */
static void check_values(const char *text)
{
    const struct setting *row = settings_table();
    for (size_t i = 0; i < SETTINGS_ROWS; i++, row++) {
        struct buf error = {0}, out = {0};
        union value v;
        if (row->section || row->type == SETTING_DIR) {
            continue;
        }
        if (value_parse(&v, row, &text, 1, SETTINGS_FILE, &error) == 0) {
            CHECK(value_print(&v, row, &out) == 0, "%s does not print", row->name);
            CHECK(out.len == 0 || !memchr(out.data, '\n', out.len), "%s takes two lines", row->name);
            value_finish(&v, row);
        } else {
            CHECK(error.len > 0, "no sentence");
        }
        buf_finish(&error);
        buf_finish(&out);
    }
}

/* Settings that passed can be put to use. */
static void check_settings(const struct settings *s)
{
    struct buf out = {0};
    struct allow allow;
    CHECK(s->workers >= 1 && s->workers <= 4096 && s->umask >= 0 && s->umask <= 0777 && s->timeout >= 0, "ranges");
    CHECK(settings_print(s, &out) == 0 && out.len > 0, "print");
    CHECK(allow_init(&allow, &s->forwarded_allow_ips) == 0, "an address that settings_check let through");
    allow_has(&allow, "192.0.2.1");
    allow_finish(&allow);
    for (size_t i = 0; i < s->secure_scheme_headers.n; i++) {
        CHECK(strchr(s->secure_scheme_headers.v[i], '='), "a pair without =");
    }
    buf_finish(&out);
}

static void check_command_line(int argc, char **argv)
{
    struct cli c;
    struct settings s = {0};
    struct buf message = {0}, error = {0};
    if (cli_parse(&c, argc, argv, &message)) {
        if (settings_init(&s, &error) == 0 && cli_apply(&c, &s, &error) == 0 && settings_check(&s, &error) == 0) {
            settings_warn(&s);
            check_settings(&s);
            CHECK(error.len == 0, "%s", buf_cstr(&error));
            CHECK(cli_application(&c, &s, &error) || error.len > 0, "no application, and no sentence");
        } else {
            CHECK(error.len > 0, "no sentence");
        }
    } else {
        CHECK(message.len > 0 && c.status >= 0 && c.status <= 2, "status %d", c.status);
    }
    settings_finish(&s);
    cli_finish(&c);
    buf_finish(&message);
    buf_finish(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = strndup((const char *)data, len), *argv[ARGS_MAX + 2] = {(char *)"cwsgi"};
    CHECK(text, "memory");
    int argc = 1;
    for (size_t i = 0; i < N_VARIABLES; i++) {
        unsetenv(VARIABLES[i]);
    }
    check_words(text);
    char *rest = text, *line = strsep(&rest, "\n");
    check_values(line);
    for (; line && argc <= ARGS_MAX; line = strsep(&rest, "\n")) {
        size_t variable = (unsigned char)*line - 1u;
        if (variable < N_VARIABLES) {
            setenv(VARIABLES[variable], line + 1, 1);
        } else {
            argv[argc++] = line;
        }
    }
    check_command_line(argc, argv);
    free(text);
    return 0;
}

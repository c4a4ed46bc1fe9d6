/* program.c - what every step of the program may need. */
#include "program/program.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/buf.h"
#include "server/base/cwd.h"
#include "server/base/log.h"
#include "server/process/title.h"

bool program_is_reload(const struct program *p)
{
    return p->handover && !p->handover->newborn;
}

bool program_is_check(const struct program *p)
{
    return p->settings.check_config || p->settings.print_config;
}

int program_refuse(struct program *p, struct buf *error)
{
    const char *text = buf_cstr(error);
    text = text && *text ? text : "Out of memory"; /* the sentence found no room */
    fprintf(stderr, "Error: %s\n", text);
    log_echo_end(); /* it was told */
    if (log_fd() != STDERR_FILENO) {
        log_error("%s", text);
    }
    if (program_is_reload(p)) {
        log_critical("The new release does not start");
    }
    return 1;
}

int program_refuse_errno(struct program *p, const char *what, int r)
{
    struct buf error = {0};
    buf_printf(&error, "%s: %s", what, strerror(-r));
    int status = program_refuse(p, &error);
    buf_finish(&error);
    return status;
}

const char *program_name(const struct program *p)
{
    const struct settings *s = &p->settings;
    if (s->proc_name) {
        return s->proc_name;
    }
    bool named = strcmp(s->default_proc_name, settings_find("default_proc_name")->default_value) != 0;
    return named ? s->default_proc_name : p->app_name;
}

char *program_log_path(const struct program *p)
{
    const char *path = p->settings.errorlog;
    return strcmp(path, "-") == 0 ? NULL : cwd_absolute(path);
}

void program_title(const struct program *p, const char *role)
{
    const char *name = program_name(p);
    if (name) {
        title_set("%s: %s [%s]", p->venv.title, role, name);
    }
}

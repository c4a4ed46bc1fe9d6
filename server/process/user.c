/* user.c - the user and the group that workers run as. */
#include "server/process/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "server/base/account.h"
#include "server/base/buf.h"
#include "server/base/sink.h"
#include "server/config/settings.h"

/* Supplementary groups: those of the user with initgroups; else none of root's stay with a process that leaves root. */
static int change_groups(bool init, uid_t uid, gid_t gid)
{
    const struct passwd *pw = init ? getpwuid(uid) : NULL;
    if (init && !pw) {
        errno = ENOENT;
        return -1;
    }
    return pw ? initgroups(pw->pw_name, gid) : setgroups(1, &gid);
}

static int find_both(const struct settings *s, uid_t *uid, gid_t *gid, struct buf *error)
{
    *uid = geteuid();
    *gid = getegid();
    if (s->user && account_user(s->user, uid) < 0) {
        buf_printf(error, "There is no user '%s'", s->user);
        return -1;
    }
    if (s->group && account_group(s->group, gid) < 0) {
        buf_printf(error, "There is no group '%s'", s->group);
        return -1;
    }
    return 0;
}

/* Whose the files of root's server are to be: 1. 0: they stay root's, or we are not root; -1 with a sentence. */
static int find_heir(const struct settings *s, uid_t *uid, gid_t *gid, struct buf *error)
{
    if (geteuid() != 0 || (!s->user && !s->group)) {
        return 0;
    }
    return find_both(s, uid, gid, error) < 0 ? -1 : 1;
}

int user_make_logs(const struct settings *s, struct buf *error)
{
    const char *const paths[] = {s->errorlog, s->accesslog};
    uid_t uid;
    gid_t gid;
    int r = find_heir(s, &uid, &gid, error);
    if (r <= 0) {
        return r;
    }
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        r = !paths[i] || strcmp(paths[i], "-") == 0 ? 0 : sink_make_file(paths[i], uid, gid);
        if (r < 0) {
            buf_printf(error, "'%s' isn't writable: %s", paths[i], strerror(-r));
            return -1;
        }
    }
    return 0;
}

int user_give(const struct settings *s, const char *path, struct buf *error)
{
    uid_t uid;
    gid_t gid;
    int r = find_heir(s, &uid, &gid, error);
    if (r <= 0) {
        return r;
    }
    if (lchown(path, uid, gid) < 0) {
        buf_printf(error, "Can't give '%s' to user %u, group %u: %s", path, uid, gid, strerror(errno));
        return -1;
    }
    return 0;
}

int user_become(const struct settings *s, struct buf *error)
{
    uid_t uid;
    gid_t gid;
    if (find_both(s, &uid, &gid, error) < 0) {
        return -1;
    }

    int death_signal = 0;
    bool leaves = uid != geteuid();
    prctl(PR_GET_PDEATHSIG, &death_signal);
    if (((leaves || s->initgroups) && geteuid() == 0 && change_groups(s->initgroups, uid, gid) < 0) ||
        (gid != getegid() && setgid(gid) < 0) || (leaves && setuid(uid) < 0)) {
        buf_printf(error, "Can't become user %u, group %u: %s", uid, gid, strerror(errno));
        return -1;
    }
    prctl(PR_SET_PDEATHSIG, death_signal);
    return 0;
}

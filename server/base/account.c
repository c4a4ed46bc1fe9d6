/* account.c - the numbers of users and groups that are given by name or number. */
#include "server/base/account.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>

static bool number(const char *text, unsigned *value)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || n >= UINT_MAX) { /* (uid_t)-1 means "no change" */
        return false;
    }
    *value = (unsigned)n;
    return true;
}

int account_user(const char *text, uid_t *uid)
{
    if (number(text, uid)) {
        return 0;
    }
    const struct passwd *pw = getpwnam(text);
    if (!pw) {
        return -ENOENT;
    }
    *uid = pw->pw_uid;
    return 0;
}

int account_group(const char *text, gid_t *gid)
{
    if (number(text, gid)) {
        return 0;
    }
    const struct group *gr = getgrnam(text);
    if (!gr) {
        return -ENOENT;
    }
    *gid = gr->gr_gid;
    return 0;
}

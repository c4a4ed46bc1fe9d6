/* account.h - the numbers of users and groups that are given by name or number. */
#pragma once

#include <sys/types.h>

/* "www-data" or "33": 0 or -ENOENT. A number needs no entry in the user database; what looks like one and is too large
 * is looked up as a name, as are names that begin with a digit. */
int account_user(const char *text, uid_t *uid);
int account_group(const char *text, gid_t *gid);

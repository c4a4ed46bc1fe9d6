/* user.h - the user and the group that workers run as: the settings user, group and initgroups. */
#pragma once

struct buf;
struct settings;

/* For this process: as gunicorn, in workers. Without root only what is already so is allowed. Keeps PR_SET_PDEATHSIG,
 * which a change of user drops. 0, or -1 with a sentence. */
int user_become(const struct settings *s, struct buf *error);

/* As root, for workers that run as somebody else: makes the log files that are missing theirs. Before they are opened,
 * and opened again. 0, or -1 with a sentence. */
int user_make_logs(const struct settings *s, struct buf *error);

/* As root, the same for a unix socket: a front end in the workers' group may connect, whatever umask says of others. */
int user_give(const struct settings *s, const char *path, struct buf *error);

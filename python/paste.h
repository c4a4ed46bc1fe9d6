/* paste.h - an application that a PasteDeploy file describes (--paste FILE, FILE#NAME), by way of PasteDeploy itself.
 */
#pragma once

#include "python/load.h"

struct buf;
struct settings;

/* Is the file there? If it configures Python's logging, too, that becomes `logconfig`, unless it was given. After
 * settings_check. 0, or -1 with a sentence. */
int paste_settings(struct settings *s, struct buf *error);

/* As load_app, for s->paste. */
enum load_result paste_load(const struct settings *s, struct _object **app);

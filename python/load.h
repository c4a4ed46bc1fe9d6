/* load.h - "package.module:app" to a callable. */
#pragma once

struct _object; /* PyObject */

enum load_result {
    LOAD_OK,
    LOAD_IMPORT_FAILED, /* importing raised: exit status 3, as a worker that failed to boot */
    LOAD_NOT_AN_APP,    /* no such attribute, not callable, bad expression: exit status 4 */
};

/* MODULE, MODULE:NAME, MODULE:factory("x", key=1) with literals only; NAME defaults to "application". On failure the
 * user's traceback and one line that says what to do were logged. *app: a new reference. */
enum load_result load_app(const char *address, struct _object **app);

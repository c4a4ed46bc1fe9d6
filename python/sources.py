"""--reload: which files are watched, and what is served while the application does not load. Runs as the module
_cwsgi_reload; pyhooks.c puts `extra`, the setting reload_extra_files, into it before."""

import glob
import sys

failed = False


def files():
    found = [sys.path[0] + "/."]  # the folder of the application, also while nothing of it could be imported
    for module in tuple(sys.modules.values()):
        name = getattr(module, "__dict__", {}).get("__file__")  # getattr would wake up lazy modules
        if isinstance(name, str):
            found.append(name[:-1] if name.endswith((".pyc", ".pyo")) else name)
    for pattern in extra:  # noqa: F821
        found += glob.glob(pattern, recursive=True) if glob.has_magic(pattern) else [pattern]
    if failed:
        for pattern in "/*.py", "/*/*.py":
            found += glob.glob(glob.escape(sys.path[0]) + pattern)
    return found


def stopgap():
    """An application in place of the one that does not load."""
    global failed
    failed = True

    def application(environ, start_response):
        text = b"The application does not load: the server log says why. It is tried again when a file changes.\n"
        start_response("500 Internal Server Error", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
        return [text]

    return application

"""logging's loggers gunicorn.error and gunicorn.access, whose handlers and level applications take for their own. They
are made when something imports logging. Runs as the module _cwsgi_logging; pyhooks.c puts `fd` and `level` of the server
log and `accesslog`, the setting, into it before."""

import os
import sys


class Stream:
    """Whole records, as the server writes them. The access log is opened for each, since it may be rotated."""

    def __init__(self, name=None):
        self.name = name

    def write(self, text):
        data = text.encode("utf-8", "backslashreplace")
        if self.name is None:
            os.write(fd, data)  # noqa: F821
        elif self.name == "-":
            os.write(1, data)
        else:
            with open(self.name, "ab", 0) as f:
                f.write(data)

    def flush(self):
        pass


expected = {}  # name: what set_up makes of that logger


def state(logger):
    handlers = [(h, h.formatter, h.level, h.filters[:]) for h in logger.handlers]
    return logger.level, logger.propagate, logger.filters[:], handlers


def touched():
    """Has somebody filtered these loggers, or led elsewhere what they get? Then the server's own records are meant."""
    logging = sys.modules.get("logging")
    return any(state(logging.getLogger(name)) != was for name, was in expected.items())


def set_up(logging):
    error = logging.Formatter("%(asctime)s [%(process)d] [%(levelname)s] %(message)s", "[%Y-%m-%d %H:%M:%S %z]")
    access = logging.Formatter("%(message)s")
    handler = logging.StreamHandler(Stream())
    handler.setFormatter(error)
    logger = logging.getLogger("gunicorn.error")
    logger.propagate = False
    logger.setLevel(level)  # noqa: F821
    logger.addHandler(handler)
    expected[logger.name] = level, False, [], [(handler, error, logging.NOTSET, [])]  # noqa: F821
    logger = logging.getLogger("gunicorn.access")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    expected[logger.name] = logging.INFO, False, [], []
    if accesslog:  # noqa: F821
        handler = logging.StreamHandler(Stream(accesslog))  # noqa: F821
        handler.setFormatter(access)
        logger.addHandler(handler)
        expected[logger.name][3].append((handler, access, logging.NOTSET, []))


class Finder:
    """Importing logging costs as much as all else at the start: it is left to those who need it."""

    def find_spec(self, name, path=None, target=None):
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                break
        else:
            return None
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            set_up(module)

        spec.loader.exec_module = exec_module
        return spec


if "logging" in sys.modules:
    set_up(sys.modules["logging"])
else:
    sys.meta_path.insert(0, Finder())

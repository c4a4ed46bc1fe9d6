"""The standard library, before the application's folder is in sys.path. Runs as the module _cwsgi_library."""

import sys

from _frozen_importlib_external import PathFinder

# What gunicorn itself has loaded by then.
NAMES = frozenset(
    """argparse array ast base64 binascii bisect bz2 calendar collections contextlib copy copyreg csv datetime dis email
    enum fcntl fnmatch functools gettext glob grp heapq html importlib inspect ipaddress json keyword linecache locale
    logging lzma math ntpath opcode operator pathlib queue quopri random re reprlib select selectors shlex shutil signal
    socket ssl string struct tempfile textwrap threading token tokenize traceback types typing urllib uu warnings
    weakref zipfile zlib""".split()
)
START = sys.path[:]


class Finder:
    """A file calendar.py in the application's folder is not what `import calendar` finds."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, START) if name in NAMES else None


def load():
    """What nearly every application needs, and what comes with it: all of it is among NAMES."""
    for name in (
        "copy email.message email.utils gettext heapq html importlib.util inspect ipaddress json logging pathlib"
        " selectors ssl tempfile typing urllib.parse"
    ).split():
        try:
            __import__(name)
        except BaseException:  # whoever needs it will be told
            pass


sys.meta_path.insert(sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0, Finder)

"""gunicorn, as configuration files and applications look for it. Runs as the module _cwsgi_product before their folder
is in sys.path: nothing there is taken for gunicorn. product.c puts `version`, of the gunicorn whose settings we know,
and `ours`, "cwsgi/VERSION", into it before."""

import os
import sys

FIELDS = ("SERVER", "SERVER_SOFTWARE")  # what configuration files change: the Server header, and environ's


def stand_in():
    """A package with nothing in it: `import gunicorn.app` finds no module, as without gunicorn."""
    from _frozen_importlib import ModuleSpec

    module = type(sys)("gunicorn", "Stands for gunicorn, which is not installed here: cwsgi does its work.")
    module.__spec__ = ModuleSpec("gunicorn", None, is_package=True)  # importlib.util.find_spec wants one
    module.__package__ = "gunicorn"
    module.__path__ = module.__spec__.submodule_search_locations
    module.__version__ = version  # noqa: F821
    module.version_info = tuple(map(int, module.__version__.split(".")))
    module.SERVER = "gunicorn"
    module.SERVER_SOFTWARE = "gunicorn/" + module.__version__
    return module


try:
    import gunicorn

    before = {name: getattr(gunicorn, name) for name in FIELDS}  # a folder that pip has left behind has none
except Exception:
    gunicorn = sys.modules["gunicorn"] = stand_in()
    before = {name: getattr(gunicorn, name) for name in FIELDS}


def settle():
    """What the Server header and environ say, as bytes: the configuration file may have changed it."""
    both = before["SERVER_SOFTWARE"] + " " + ours  # noqa: F821
    os.environ["SERVER_SOFTWARE"] = both
    values = []
    for name, usual in zip(FIELDS, ("cwsgi", both)):
        value = getattr(gunicorn, name, before[name])
        value = usual if value == before[name] else str(value)
        if any(c > "\xff" or c == "\x7f" or (c < " " and c != "\t") for c in value):
            raise ValueError("gunicorn.%s is %r, but it must be one line of Latin-1" % (name, value))
        values.append(value.encode("latin-1"))
    return tuple(values)

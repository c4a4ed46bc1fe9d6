"""What applications ask to find out whether gunicorn serves them, and what a configuration file changes of it."""

import json
import re

import pytest

import venvs
from sides import must_be_documented, same

# Noted in the master, before and after the configuration file, and in a worker.
APP = """
import importlib.util, json, os, sys

SEEN = {}

def note(where):
    gunicorn = sys.modules.get("gunicorn")
    SEEN[where] = {
        "module": gunicorn is not None,
        "spec": importlib.util.find_spec("gunicorn") is not None,
        "names": gunicorn and [gunicorn.SERVER, gunicorn.SERVER_SOFTWARE, gunicorn.__version__],
        "version_info": gunicorn and list(gunicorn.version_info),
        "variable": os.environ.get("SERVER_SOFTWARE", "").split(" ")[0],
    }

note("application")

def app(environ, start_response):
    note("request")
    SEEN["environ"] = environ["SERVER_SOFTWARE"].split(" ")[0]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(SEEN).encode()]
"""
CONFIG = """
import asking
asking.note("configuration")

def on_starting(server):
    asking.note("master")
"""


def asked(side, config=CONFIG, *args, **options):
    (side.folder / "asking.py").write_text(APP)
    return side.server("asking:app", *args, config=config, **options)


@pytest.mark.parametrize("installed", (False, True), ids=("alone", "beside gunicorn"))
@pytest.mark.parametrize("preload", ((), ("--preload",)), ids=("each worker", "preload"))
def test_gunicorn_is_found(both, installed, preload):
    venv = str(venvs.beside_gunicorn(venvs.linked_python())) if installed else None

    def scenario(side):
        env = {"VIRTUAL_ENV": venv if side.name == "cwsgi" else None}
        return json.loads(asked(side, CONFIG, *preload, env=env).get("/").text)

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi["environ"].startswith("gunicorn/")
    assert seen.cwsgi["configuration"]["module"]


def test_parts_of_gunicorn_that_are_not_there_are_missing(sides):
    side = sides[1]
    (side.folder / "asking.py").write_text(
        "import gunicorn\ntry:\n    import gunicorn.app.base\nexcept ModuleNotFoundError as e:\n    missing = str(e)\n"
        "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [missing.encode()]\n"
    )
    assert side.server("asking:app").get("/").text == "No module named 'gunicorn.app'"


def test_files_of_the_application_are_not_taken_for_gunicorn(both):
    def scenario(side):
        (side.folder / "gunicorn").mkdir()
        (side.folder / "gunicorn/__init__.py").write_text("SERVER = 'mine'\n")
        return json.loads(asked(side).get("/").text)

    same(both(scenario))


CHANGES = {
    "nothing": "",
    "name": "gunicorn.SERVER = 'undisclosed'",
    "no name": "gunicorn.SERVER = ''",
    "latin-1": "gunicorn.SERVER = 'caf\\xe9'",
    "long name": "gunicorn.SERVER = 'x' * 3000",
    "no text": "gunicorn.SERVER = None",
    "software": "gunicorn.SERVER_SOFTWARE = 'Python'",
    "both": "gunicorn.SERVER = 'a'; gunicorn.SERVER_SOFTWARE = 'b'",
}


@pytest.mark.parametrize("change", CHANGES)
def test_configuration_file_changes_the_names(both, change):
    def scenario(side):
        s = asked(side, f"import gunicorn\n{CHANGES[change]}\n{CONFIG}")
        reply = s.get("/")
        seen = json.loads(reply.text)
        return {"server": reply["Server"], **seen}

    own = {} if "SERVER =" in CHANGES[change] else {"server": "Server and SERVER_SOFTWARE"}
    same(both(scenario), **own)


def test_name_that_fits_no_header_ends_the_start(sides):
    side = sides[1]
    for name in ("a\\r\\nX: y", "\\u20ac"):
        (side.folder / "gunicorn.conf.py").write_text(f"import gunicorn\ngunicorn.SERVER = '{name}'\n")
        done = side.run("--check-config", "probe:app")
        assert done.returncode == 1
        assert "gunicorn.SERVER is" in done.stderr and "must be one line of Latin-1" in done.stderr


@pytest.mark.parametrize("how", ("import gunicorn.glogging", "from gunicorn import glogging"))
def test_who_needs_a_part_is_told_to_install_gunicorn(sides, how):
    side = sides[1]
    env = {"VIRTUAL_ENV": None}
    (side.folder / "needs.py").write_text(how + "\nLogger = app = None\n")
    done = side.run("--check-config", "needs:app", env=env)
    assert done.returncode == 1 and "pip install gunicorn\n" in done.stderr
    done = side.run("--check-config", "--logger-class", "needs.Logger", "probe:app", env=env)
    assert done.returncode == 1 and "needs gunicorn to be installed, too" in done.stderr
    (side.folder / "gunicorn.conf.py").write_text(how)
    done = side.run("--check-config", "probe:app", env=env)
    assert done.returncode == 1 and "must be installed beside cwsgi" in done.stderr


def test_products_are_told_as_one_list(sides):
    """RFC 3875 4.1.17: a blank between them. Who asks for the server itself finds it, too."""
    side = sides[1]
    s = side.server("probe:app", env={"VIRTUAL_ENV": None})
    assert re.fullmatch(r"gunicorn/\d+\.\d+\.\d+ cwsgi/\S+", s.get("/variables?names=SERVER_SOFTWARE").text)
    must_be_documented(["Server and SERVER_SOFTWARE"])

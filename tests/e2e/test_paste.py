"""--paste: an application that a PasteDeploy file describes."""

import re

import pytest

import venvs
from harness import IS_GUNICORN, command, environment, ours, run, wait_until

INI = """
[app:main]
paste.app_factory = shop:make
greeting = hello

[app:other]
use = main
greeting = good evening
"""
LOGGING = """
[loggers]
keys = root, gunicorn.access
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = INFO
handlers = console
[logger_gunicorn.access]
level = INFO
handlers = console
propagate = 0
qualname = gunicorn.access
[handler_console]
class = StreamHandler
formatter = plain
args = (sys.stderr,)
[formatter_plain]
format = PASTE %(message)s
"""
APP = """
def make(global_conf, greeting):
    text = "%s from %s, %s" % (greeting, global_conf.get("town", "nowhere"), global_conf.get("a=b"))

    def app(environ, start_response):
        start_response("200 OK", [("Content-Length", str(len(text)))])
        return [text.encode()]

    return app
"""


@pytest.fixture
def pasted(server, folder):
    (folder / "shop.py").write_text(APP)
    (folder / "site.ini").write_text(INI)
    env = environment() if IS_GUNICORN else environment(VIRTUAL_ENV=str(venvs.beside_gunicorn(venvs.linked_python())))

    def start(*args, app=None):
        return server(app, *args, folder=folder, env=env)

    return start


@pytest.mark.parametrize(
    "args, says",
    [
        (["--paste", "site.ini"], "hello from nowhere, None"),
        (["--paster", "site.ini#other"], "good evening from nowhere, None"),
        (["--paste", "site.ini", "--paste-global", "town=Ulm", "--paste-global", r"a\=b=c=d"], "hello from Ulm, c=d"),
    ],
)
def test_application_of_a_file(pasted, args, says):
    s = pasted(*args)
    assert s.get("/").text == says
    assert IS_GUNICORN or "site.ini" in command(s.pid)


def test_settings_may_name_it(pasted, folder):
    (folder / "gunicorn.conf.py").write_text("paste = 'site.ini'\nraw_paste_global_conf = ['town=Ulm']\n")
    s = pasted() if not IS_GUNICORN else pytest.skip("gunicorn wants an application on the command line, too")
    assert s.get("/").text == "hello from Ulm, None"
    s.signal("HUP")
    wait_until(lambda: "Hang up" in s.log() and s.get("/").status == 200, "it serves on")


def test_file_that_configures_logging(pasted, folder):
    (folder / "site.ini").write_text(INI + LOGGING)
    s = pasted("--paste", "site.ini")
    assert s.get("/page").status == 200
    wait_until(lambda: re.search(r'^PASTE 127\.0\.0\.1 .*"GET /page HTTP/1\.1" 200', s.log(), re.MULTILINE), "it is used")


@ours
@pytest.mark.parametrize(
    "args, says",
    [
        (["--paste", "nowhere.ini"], r"paste: .*nowhere\.ini: No such file"),
        (["--paste", ""], "paste is empty"),
        (["--paste", "site.ini", "--check-config"], "pip install PasteDeploy"),
    ],
)
def test_what_is_missing_is_told(folder, tmp_path, args, says):
    (folder / "site.ini").write_text(INI)
    env = environment(VIRTUAL_ENV=str(venvs.make_venv(venvs.linked_python(), tmp_path / "bare")))
    done = run(*args, cwd=folder, env=env)
    assert done.returncode == 1 and re.search(says, done.stderr), done.stderr

"""When chdir, raw_env, pythonpath, user, group and the variables of the environment take effect, and where."""

import json
import os
import pwd
from itertools import takewhile

import pytest

from harness import environment, ours, run, wait_until

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")

# Writes down, once for each name, what the process is like at that moment.
NOTE = """
import json, os, sys
FOLDER = os.path.dirname(os.path.abspath(__file__))

def note(name):
    facts = {
        "cwd": os.path.relpath(os.getcwd(), FOLDER), "env": os.environ.get("TIER"),
        "path": [os.path.relpath(p, FOLDER) for p in sys.path if p.startswith(FOLDER)],
        "user": os.geteuid(), "group": os.getegid(), "groups": sorted(os.getgroups()), "pid": os.getpid(),
        "software": os.environ.get("SERVER_SOFTWARE", "").partition("/")[0],
    }
    path = FOLDER + "/notes/" + name
    if not os.path.exists(path):
        with open(path + ".new", "w") as f:
            json.dump(facts, f)
        os.rename(path + ".new", path)
"""
CONFIG = """
import note
note.note("config")
chdir = "sub"
raw_env = ["TIER=gold"]
pythonpath = "../lib"
pidfile = "x.pid"

def on_starting(server):
    note.note("on_starting")

def when_ready(server):
    note.note("when_ready")

def pre_fork(server, worker):
    note.note("pre_fork")

def post_fork(server, worker):
    note.note("post_fork")

def post_worker_init(worker):
    note.note("post_worker_init")

def child_exit(server, worker):
    note.note("child_exit")

def worker_exit(server, worker):
    note.note("worker_exit")

def on_exit(server):
    note.note("on_exit")
"""
APP = """
import note
note.note("import")

def app(environ, start_response):
    note.note("request")
    start_response("200 OK", [("Content-Length", "1")])
    return [b"x"]
"""
IN_WORKERS = {"post_fork", "import", "post_worker_init", "request", "worker_exit"}


@pytest.fixture
def noting(server, tmp_path):
    """A site whose configuration leads to the folder sub/, where the application is; its notes once it has ended."""
    folder = tmp_path / "site"
    for name in "sub", "lib", "notes":
        (folder / name).mkdir(parents=True)
    (folder / "note.py").write_text(NOTE)
    (folder / "sub" / "shop.py").write_text("import helper\n" + APP)
    (folder / "lib" / "helper.py").write_text("")

    def end(*args, config=CONFIG, **options):
        (folder / "gunicorn.conf.py").write_text(config)
        s = server("shop:app", *args, folder=folder, **options)
        assert s.get("/").status == 200
        pid_file = folder / "sub" / "x.pid"
        assert pid_file.read_text() == f"{s.pid}\n"
        s.stop()
        assert not pid_file.exists()
        notes = {p.name: json.loads(p.read_text()) for p in (folder / "notes").iterdir()}
        assert {n for n in notes if notes[n]["pid"] != s.pid} == (IN_WORKERS if "--preload" not in args else IN_WORKERS - {"import"})
        return notes

    end.folder = folder
    return end


@pytest.mark.parametrize("args", [[], ["--preload"]])
def test_folder_environment_and_path(noting, args):
    notes = noting(*args)
    config = notes.pop("config")
    assert (config["cwd"], config["env"], config["path"]) == (".", None, ["."])
    for name, facts in notes.items():
        assert (facts["cwd"], facts["env"]) == ("sub", "gold"), name
        assert facts["path"] == ["lib", "sub", "."], name
        assert facts["software"] == "gunicorn"


def test_command_line_leads_elsewhere_than_the_file(noting):
    (noting.folder / "elsewhere").mkdir()
    notes = noting("--chdir", "sub", "-e", "TIER=silver", config=CONFIG.replace('chdir = "sub"', 'chdir = "elsewhere"'))
    assert notes["config"]["cwd"] == "."
    assert {(n["cwd"], n["env"]) for name, n in notes.items() if name != "config"} == {("sub", "silver")}


@AS_ROOT
@pytest.mark.parametrize("init", [[], pytest.param(["--initgroups"], marks=ours)])
def test_user_and_group_are_changed_in_workers_before_the_application_is_loaded(noting, init):
    user = pwd.getpwnam("nobody")
    for path in takewhile(lambda p: p.stat().st_mode & 0o777 == 0o700, noting.folder.parents):
        path.chmod(0o711)  # pytest's own, which keep others out
    os.chown(noting.folder / "notes", user.pw_uid, user.pw_gid)
    notes = noting("--user", "nobody", "--group", str(user.pw_gid), *init)
    for name, facts in notes.items():
        changed = name in IN_WORKERS - {"post_fork"}
        assert (facts["user"], facts["group"]) == ((user.pw_uid, user.pw_gid) if changed else (0, os.getegid())), name
        if changed:
            assert init == [] or facts["groups"] == sorted(os.getgrouplist("nobody", user.pw_gid)), name


# Which source has the last word.

SOURCES = [
    ("environment", {"WEB_CONCURRENCY": "2"}, None, [], "workers", "2"),
    ("environment", {"PORT": "8123"}, None, [], "bind", "['0.0.0.0:8123']"),
    ("environment", {"FORWARDED_ALLOW_IPS": "10.0.0.0/8"}, None, [], "forwarded_allow_ips", "['10.0.0.0/8']"),
    ("file over environment", {"PORT": "8123"}, "bind = '127.0.0.1:1'", [], "bind", "['127.0.0.1:1']"),
    ("file over environment", {"WEB_CONCURRENCY": "2"}, "workers = 3", [], "workers", "3"),
    ("variable over file", {"GUNICORN_CMD_ARGS": "-w 4"}, "workers = 3", [], "workers", "4"),
    ("command line over variable", {"GUNICORN_CMD_ARGS": "-w 4"}, "workers = 3", ["-w", "5"], "workers", "5"),
    ("lists are replaced", {"GUNICORN_CMD_ARGS": "-b :1 -b :2"}, "bind = [':3']", [], "bind", "[':1', ':2']"),
    ("lists are replaced", {"GUNICORN_CMD_ARGS": "-b :1"}, None, ["-b", ":4", "-b", ":5"], "bind", "[':4', ':5']"),
    ("quotes", {"GUNICORN_CMD_ARGS": "--access-logformat 'a \"b\" c'"}, None, [], "access_log_format", 'a "b" c'),
    ("abbreviation", {"GUNICORN_CMD_ARGS": "--worker-conn=7"}, None, [], "worker_connections", "7"),
]
OURS = [
    ("ours over gunicorn's", {"CWSGI_CMD_ARGS": "-w 6", "GUNICORN_CMD_ARGS": "-w 4"}, None, [], "workers", "6"),
    ("command line over ours", {"CWSGI_CMD_ARGS": "-w 6"}, None, ["-w", "5"], "workers", "5"),
    ("sendfile", {"SENDFILE": "no"}, None, [], "sendfile", "False"),
    ("sendfile", {"SENDFILE": "no"}, "sendfile = True", [], "sendfile", "True"),
]


def printed(folder, setting, *args, **env):
    done = run("--print-config", *args, "hello:app", cwd=folder, env=environment(**env))
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" = ", 1) for line in done.stdout.splitlines())
    width = {len(name) for name in lines}
    assert len(width) == 1
    return {name.rstrip(): value for name, value in lines.items()}[setting]


@pytest.mark.parametrize(
    "why, env, file, args, setting, value", [*SOURCES, *(pytest.param(*o, marks=ours) for o in OURS)]
)
def test_last_word(folder, why, env, file, args, setting, value):
    if file:
        (folder / "gunicorn.conf.py").write_text(file)
    assert printed(folder, setting, *args, **env) == value, why


@pytest.mark.parametrize("how", ["{}", "file:{}", "python:my.settings"])
@pytest.mark.parametrize("where", ["command line", "variable"])
def test_configuration_file_that_is_named(folder, how, where):
    (folder / "my").mkdir()
    (folder / "my" / "__init__.py").write_text("")
    (folder / "my" / "settings.py").write_text("workers = 7\n")
    (folder / "gunicorn.conf.py").write_text("workers = 3\ntimeout = 77\n")
    named = how.format("my/settings.py")
    if where == "variable":
        assert printed(folder, "workers", GUNICORN_CMD_ARGS=f"-c {named}") == "7"
        assert printed(folder, "workers", "-c", "gunicorn.conf.py", GUNICORN_CMD_ARGS=f"-c {named}") == "3"
    else:
        assert printed(folder, "workers", "-c", named) == "7"
        assert printed(folder, "timeout", "-c", named) == "30"  # the default file is not read then


@ours
def test_file_of_our_own_comes_after_gunicorns(folder):
    (folder / "gunicorn.conf.py").write_text("workers = 3\ntimeout = 77\n")
    (folder / "cwsgi.conf.py").write_text("workers = 4\n")
    assert printed(folder, "workers") == "4"
    assert printed(folder, "timeout") == "77"


@ours
def test_variables_of_the_start_are_those_of_a_reload(server, folder):
    """raw_env is set anew, not on top of what it was."""
    (folder / "gunicorn.conf.py").write_text("raw_env = ['TIER=gold', 'OLD=1', 'SEEN=no']\n")
    s = server("probe:app", folder=folder, env=environment(TIER="tin"))
    assert s.get("/variables?names=TIER,OLD").text == "gold|1"
    (folder / "gunicorn.conf.py").write_text("import os\nraw_env = ['SEEN=' + os.environ['TIER'] + os.environ.get('OLD', '')]\n")
    s.signal("HUP")
    wait_until(lambda: s.get("/variables?names=SEEN").text.strip() == "tin", "the new release sees the old environment")

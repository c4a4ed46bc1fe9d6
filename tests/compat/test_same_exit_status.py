"""Right and wrong invocations: they end with the same status, or serve."""

import re
import shlex
import socket
import subprocess

import pytest

from harness import BOUND, free_port, wait_until
from sides import must_be_documented

FILES = {
    "broken.py": "def half(\n",
    "needs.py": "import no_such_module\n",
    "raises.py": "raise RuntimeError('no database')\n",
    "exits.py": "import sys\nsys.exit(5)\n",
    "values.py": "number = 7\nnothing = None\ndef factory(a, key=None):\n    return None\n",
    "not.sock": "a file\n",
    "syntax.conf.py": "workers = \n",
    "value.conf.py": "workers = 'many'\n",
    "raises.conf.py": "1 / 0\n",
    "exits.conf.py": "import sys\nsys.exit(7)\n",
    "no_hook.conf.py": "on_starting = 'x'\n",
    "unknown.conf.py": "no_such_setting = 3\n",
    "empty.conf.py": "pidfile = proc_name = chdir = tmp_upload_dir = ciphers = ca_certs = ''\npreload_app = bind = None\n",
    "empty_statsd.conf.py": "statsd_host = ''\n",
    "empty_control.conf.py": "control_socket = ''\n",
    "empty_log.conf.py": "accesslog = ''\n",
    "no_address.conf.py": "bind = None\n",
    "on_starting.conf.py": "def on_starting(server):\n    raise RuntimeError('hook')\n",
    "when_ready.conf.py": "def when_ready(server):\n    raise RuntimeError('hook')\n",
    "pre_fork.conf.py": "def pre_fork(server, worker):\n    raise RuntimeError('hook')\n",
    "post_fork.conf.py": "def post_fork(server, worker):\n    raise RuntimeError('hook')\n",
    "post_worker_init.conf.py": "def post_worker_init(worker):\n    raise RuntimeError('hook')\n",
}

SERVES = "serves"

SAME = {
    "--version": 0,
    "-v": 0,
    "--help": 0,
    "-h": 0,
    "--check-config hello:app": 0,
    "--check-config raises:app": 1,
    "--check-config hello:missing": 1,
    "--check-config nowhere": 1,
    "--print-config hello:app": 0,
    "--print-config": 1,
    "": 1,
    "hello:app": SERVES,
    "hello": SERVES,
    "hello:app -w 2 --threads 2 -k gthread": SERVES,
    "--no-such-option hello:app": 2,
    "--worker hello:app": 2,
    "--access-logf - --check-config hello:app": 2,
    "--workers": 2,
    "-w3 --check-config hello:app": 0,
    "-w=3 --check-config hello:app": 0,
    "--bind=127.0.0.1:0 --check-config hello:app": 0,
    "-w -1 hello:app": 1,
    "--timeout -5 --check-config hello:app": 1,
    "--log-level nonsense --check-config hello:app": 0,
    "--limit-request-line 99999 --check-config hello:app": 0,
    "--forwarded-allow-ips nonsense --check-config hello:app": 1,
    "--header-map nonsense --check-config hello:app": 1,
    "--reload-engine nonsense --check-config hello:app": 1,
    "--statsd-host nonsense:x --check-config hello:app": 1,
    "--chdir nowhere hello:app": 1,
    "-c nowhere.py hello:app": 1,
    "-c syntax.conf.py hello:app": 1,
    "-c value.conf.py hello:app": 1,
    "-c raises.conf.py hello:app": 1,
    "-c no_hook.conf.py hello:app": 1,
    "-c unknown.conf.py --check-config hello:app": 0,
    "-c python:no_such_module hello:app": 1,
    "-c empty.conf.py hello:app": SERVES,
    "-c empty_statsd.conf.py hello:app": SERVES,
    "-c empty_control.conf.py hello:app": SERVES,
    "-c empty_log.conf.py hello:app": 1,
    "--pid= --name= hello:app": SERVES,
    "--error-logfile= hello:app": 1,
    "-c on_starting.conf.py hello:app": 1,
    "-c when_ready.conf.py hello:app": 1,
    "-c post_fork.conf.py hello:app": 3,
    "-c post_worker_init.conf.py hello:app": 3,
    "-b 127.0.0.1:99999 hello:app": 1,
    "-b 127.0.0.1:port hello:app": 1,
    "-b unix:not.sock hello:app": 1,
    "-b unix:nowhere/x.sock hello:app": 1,
    "-b no.such.host.invalid:8000 hello:app": 1,
    "-b fd://77 hello:app": 1,
    "-b 127.0.0.1:TAKEN hello:app": 1,
    "--user nobody-of-that-name hello:app": 1,
    "--group nobody-of-that-name hello:app": 1,
    "-k gevent hello:app": 1,
    "-k nonsense hello:app": 1,
    "--log-file /dev/null/x.log hello:app": 1,
    "--access-logfile /dev/null/x.log hello:app": 1,
    "-p /dev/null/x.pid hello:app": 1,
    "-p nowhere/x.pid hello:app": 1,
    "--certfile nowhere.crt --keyfile nowhere.key hello:app": 1,
    "--paste nowhere.ini": 1,
    "GUNICORN_CMD_ARGS=--nonsense --check-config hello:app": 2,
    "GUNICORN_CMD_ARGS='-w 2' --check-config hello:app": 0,
    "WEB_CONCURRENCY=many --check-config hello:app": 1,
    "WEB_CONCURRENCY=2 --check-config hello:app": 0,
    "nowhere:app": 3,
    "needs:app": 3,
    "raises:app": 3,
    "broken:app": 3,
    "hello:missing": 4,
    "values": 4,
    "values:number": 4,
    "values:nothing": 4,
    "'values:factory('": 4,
    "'values:factory()'": 4,
    "values:number+1": 4,
}

# The name of the difference, gunicorn's status, ours.
OTHERWISE = {
    "-w three hello:app": ("a word as a number", 2, 1),
    "--umask nonsense hello:app": ("a word as a number", 2, 1),
    "-w 0 --check-config hello:app": ("-w 0", 0, 1),
    "--threads 0 --check-config hello:app": ("a value that makes no sense", 0, 1),
    "--umask 0777777 --check-config hello:app": ("a value that makes no sense", 0, 1),
    "--cert-reqs 9 --check-config hello:app": ("a value that makes no sense", 0, 1),
    "--env NAME --check-config hello:app": ("a value that makes no sense", 0, 1),
    "--log-syslog --log-syslog-to x --check-config hello:app": ("a value that makes no sense", 0, 1),
    "-c empty_log.conf.py --check-config hello:app": ("a value that makes no sense", 0, 1),
    "-c no_address.conf.py --check-config hello:app": ("a value that makes no sense", 0, 1),
    "--certfile= --check-config hello:app": ("--certfile= with nothing behind it", 0, 1),
    "hello:app other:app": ("a second argument beside the application", SERVES, 2),
    "-c exits.conf.py hello:app": ("sys.exit in a configuration file", 7, 1),
    "-c pre_fork.conf.py hello:app": ("a pre_fork that raises", 255, 1),
    "-p taken.pid hello:app": ("a pid file with the pid of another program", 1, SERVES),
    "-w 3 raises:app": ("-w 3 and an application that does not load", (1, 3), 3),
    "-w 3 values": ("-w 3 and an application that does not load", (1, 4), 4),
    "--preload raises:app": ("--preload and an application that does not load", 1, 3),
    "--preload values": ("--preload and an application that does not load", 1, 4),
    "-D --log-file x.log raises:app": ("-D and an application that does not load", 0, 3),
}


@pytest.fixture
def status(both):
    """status(command line): Both of how it ends, or that it serves."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield lambda line: both(lambda side: end_of(side, line.replace("TAKEN", str(taken.getsockname()[1]))))


def end_of(side, line):
    for name, text in FILES.items():
        (side.folder / name).write_text(text)
    (side.folder / "taken.pid").write_text("1\n")
    args, variables = shlex.split(line), {}
    while args and re.match("[A-Z_]+=", args[0]):
        name, _, variables[name] = args.pop(0).partition("=")
    port = free_port()
    if "-b" not in args and "no_address.conf.py" not in args:
        args = ["-b", f"127.0.0.1:{port}", *args]
    process = subprocess.Popen(
        [side.exe, *args], cwd=side.folder, env=side.env(**variables), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or answers(port), f"{side.name} {line} ends or serves")
        return SERVES if process.poll() is None else process.returncode
    finally:
        process.terminate()
        process.wait(BOUND)


def answers(port):
    """An open port is not enough: the first worker may still find that the application does not load."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.5) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return s.recv(100).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


@pytest.mark.parametrize("line, expected", SAME.items(), ids=lambda v: v if isinstance(v, str) else str(v))
def test_same(status, line, expected):
    assert status(line) == (expected, expected)


@pytest.mark.parametrize("line", OTHERWISE)
def test_otherwise_on_purpose(status, line):
    name, theirs, ours = OTHERWISE[line]
    seen = status(line)
    assert seen.gunicorn in (theirs if isinstance(theirs, tuple) else (theirs,)) and seen.cwsgi == ours, seen
    must_be_documented([name])


def test_application_that_exits_while_it_loads(sides):
    """gunicorn starts its worker again and again."""
    gunicorn, cwsgi = sides
    assert end_of(cwsgi, "exits:app") == 3
    (gunicorn.folder / "exits.py").write_text(FILES["exits.py"])
    s = gunicorn.server("exits:app")
    wait_until(lambda: s.log().count("Booting worker") > 1, "it tries again")
    must_be_documented(["an application that calls sys.exit while it loads"])

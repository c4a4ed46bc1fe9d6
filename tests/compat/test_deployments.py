"""Configurations that manuals show for gunicorn, with one word replaced: Django's, Flask's, Heroku's, systemd's, Docker's
and supervisord's."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

import venvs
from harness import APPS, BOUND, alive, children_of, command, environment, free_port, in_session, processes, wait_until
from wire import Connection


def replaced(text):
    """All that a user does."""
    assert "gunicorn" in text
    return re.sub(r"\bgunicorn\b(?!\.conf)", "cwsgi", text)


@pytest.fixture(scope="module")
def venv(tmp_path_factory):
    """A venv with Django, Flask and the binary."""
    return venvs.with_binary(venvs.linked_python(), tmp_path_factory.mktemp("deployment") / "venv")


@pytest.fixture(scope="session")
def tools():
    """The bin/ of a venv with honcho and supervisor."""
    with venvs.cached("deployment-tools", sys.version) as (folder, fresh):
        if fresh:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
            venvs.pip_install(folder / "venv", "honcho", "supervisor")
    return folder / "venv" / "bin"


@pytest.fixture
def shell(venv, folder):
    """shell(command line, **variables): runs in the folder, in a session of its own, ended at the end of the test."""
    started = []

    def shell(line, **variables):
        env = environment(PATH=f"{venv}/bin:{os.environ['PATH']}", PYTHONUNBUFFERED="1", **variables)
        with open(folder / "output.txt", "ab") as out:
            process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {line}"], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        return process

    yield shell
    for process in started:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(BOUND)
            wait_until(lambda: not in_session(process.pid), "all processes have ended")
        finally:
            for pid in in_session(process.pid):
                os.kill(pid, signal.SIGKILL)
    log = (folder / "output.txt").read_text() if started else ""
    assert "Traceback" not in log and "[CRITICAL]" not in log, log


def ask(where, path="/"):
    """The answer's status and body; the server may not be there yet. `where`: a port, or the path of a socket."""
    end = time.monotonic() + BOUND
    while True:
        try:
            if isinstance(where, int):
                sock = socket.create_connection(("127.0.0.1", where), timeout=BOUND)
            else:
                sock = socket.socket(socket.AF_UNIX)
                sock.settimeout(BOUND)
                sock.connect(str(where))
            with Connection(sock) as c:
                reply = c.get(path, "Host: localhost", "Connection: close")
                return reply.status, reply.text
        except (ConnectionRefusedError, FileNotFoundError):
            assert time.monotonic() < end, f"nobody listens at {where}"
            time.sleep(0.01)


# Django and Flask.


def test_django(shell, folder, venv):
    """How to use Django with Gunicorn: in the folder of manage.py, the path of the project's wsgi module."""
    subprocess.run([f"{venv}/bin/python", "-m", "django", "startproject", "myproject", "."], cwd=folder, check=True)
    port = free_port()
    p = shell(replaced("gunicorn myproject.wsgi") + f" -b 127.0.0.1:{port}")
    status, text = ask(port)
    assert status == 200 and "The install worked successfully" in text
    p.terminate()
    assert p.wait(BOUND) == 0


@pytest.mark.parametrize("line", ["gunicorn -w 4 'hello:app'", "gunicorn -w 4 'hello:create_app()'", "gunicorn -w 4 hello:app"])
def test_flask(shell, folder, line):
    (folder / "hello.py").write_text(
        "from flask import Flask\n"
        "def create_app():\n"
        "    app = Flask(__name__)\n"
        "    app.add_url_rule('/', view_func=lambda: 'Hello, Flask!')\n"
        "    return app\n"
        "app = create_app()\n"
    )
    port = free_port()
    p = shell(replaced(line) + f" -b 127.0.0.1:{port}")
    assert ask(port) == (200, "Hello, Flask!")
    p.terminate()
    assert p.wait(BOUND) == 0


# Heroku: a Procfile, with the port and the number of workers in the environment.

HEROKU_CONF = """
import os
bind = ["[::]:{}".format(os.environ.get("PORT", 5006))]
worker_class = "gthread"
workers = os.environ.get("WEB_CONCURRENCY", 1)
threads = 5
preload_app = True
timeout = 20
graceful_timeout = 20
accesslog = "-"
access_log_format = 'gunicorn method=%(m)s path="%(U)s" status=%(s)s duration=%(M)sms request_id=%({x-request-id}i)s'
if os.environ.get("ENVIRONMENT") == "development":
    reload = True
else:
    reuse_port = True
"""


def procfile_shell(shell, tools, port, **variables):
    return shell(f"{tools}/honcho start web -p {port}", WEB_CONCURRENCY="2", **variables)


def test_procfile(shell, folder, tools):
    (folder / "Procfile").write_text(replaced("web: gunicorn probe:app --log-file -\n"))
    port = free_port()
    p = procfile_shell(shell, tools, port)
    assert ask(port) == (200, "Hello, World!")
    output = folder / "output.txt"
    wait_until(lambda: output.read_text().count("Booting worker") == 2, "WEB_CONCURRENCY is heard")
    assert f"Listening at: http://0.0.0.0:{port} " in output.read_text()
    p.terminate()
    p.wait(BOUND)
    assert "Shutting down: Master" in output.read_text()


def test_procfile_with_herokus_configuration(shell, folder, tools):
    if not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("there is no IPv6 here")
    (folder / "Procfile").write_text(replaced("web: gunicorn probe:app\n"))
    (folder / "gunicorn.conf.py").write_text(HEROKU_CONF)
    port = free_port()
    procfile_shell(shell, tools, port)
    assert ask(port, "/hello") == (200, "Hello, World!")
    line = r'gunicorn method=GET path="/hello" status=200 duration=\d+ms request_id=-'
    wait_until(lambda: re.search(line, (folder / "output.txt").read_text()), "the request is in the output")
    assert "Using worker: gthread" in (folder / "output.txt").read_text()


# systemd: the socket unit listens, the service is started by the first connection.

UNIT = """
[Service]
Type=notify
ExecStart=gunicorn probe:app
ExecReload=/bin/kill -s HUP $MAINPID
KillMode=mixed
"""


def test_socket_activation(shell, folder):
    if not shutil.which("systemd-socket-activate"):
        pytest.skip("systemd-socket-activate is not there (Debian's package systemd)")
    start = re.search("^ExecStart=(.*)", replaced(UNIT), re.MULTILINE)[1]
    path, port = folder / "web.sock", free_port()
    kept = "-E ASAN_OPTIONS -E LSAN_OPTIONS"  # it hands on no more than it is told to
    p = shell(f"systemd-socket-activate {kept} -l {path} -l 127.0.0.1:{port} {start}")
    assert ask(path) == (200, "Hello, World!")
    assert ask(port) == (200, "Hello, World!")
    before = children_of(p.pid)
    p.send_signal(signal.SIGHUP)
    wait_until(lambda: children_of(p.pid) and not set(children_of(p.pid)) & set(before), "new workers serve")
    assert ask(path) == (200, "Hello, World!")
    p.terminate()
    assert p.wait(BOUND) == 0
    assert path.exists(), "it is systemd's"


# Docker: the command in the exec form is pid 1 of the container.

DOCKERFILE = """
FROM python:3.12-slim
WORKDIR /app
COPY . .
RUN pip install -r requirements.txt
EXPOSE 8000
CMD ["gunicorn", "-w", "2", "-b", "0.0.0.0:8000", "orphans:app"]
"""

ORPHANS = """
import os, subprocess
import probe

def app(environ, start_response):
    if environ["PATH_INFO"] != "/orphan":
        return probe.app(environ, start_response)
    # The parent of the second process ends at once: pid 1 inherits it, and it ends with a status that is no worker's.
    subprocess.run(["/bin/sh", "-c", "(sleep 0.1; exit 3) & exit 0"], check=True)
    return probe.answer(start_response, str(os.getppid()))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root can have a pid 1 (unshare)")
def test_pid_1_of_a_container(shell, folder):
    (folder / "orphans.py").write_text(ORPHANS)
    argv = json.loads(re.search(r"^CMD (\[.*\])", replaced(DOCKERFILE), re.MULTILINE)[1])
    port = free_port()
    line = " ".join(argv).replace("0.0.0.0:8000", f"127.0.0.1:{port}")
    p = shell(f"unshare --pid --fork --kill-child --mount-proc {line}")
    for _ in range(3):
        assert ask(port, "/orphan") == (200, "1"), "the parent of the workers is pid 1"
    (master,) = children_of(p.pid)

    def zombies():
        return [pid for pid, parent, _, state in processes() if parent == master and state == "Z"]

    wait_until(lambda: len(children_of(master)) == 2 and not zombies(), "the orphans were reaped")
    assert ask(port) == (200, "Hello, World!")
    assert (folder / "output.txt").read_text().count("Booting worker") == 2, "no worker was replaced"
    assert "exited with" not in (folder / "output.txt").read_text()
    os.kill(master, signal.SIGTERM)  # docker stop
    assert p.wait(BOUND) == 0
    assert "Shutting down: Master" in (folder / "output.txt").read_text()


# supervisord, as gunicorn's manual has it.

SUPERVISORD = """
[supervisord]
nodaemon=true
pidfile=%(here)s/supervisord.pid
logfile=%(here)s/supervisord.log

[unix_http_server]
file=%(here)s/supervisor.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://%(here)s/supervisor.sock

[program:site]
command=gunicorn probe:app -c %(here)s/gunicorn.conf.py
directory=%(here)s
autostart=true
autorestart=true
redirect_stderr=true
stdout_logfile=%(here)s/site.log
"""


def test_supervisord(shell, folder, tools):
    port = free_port()
    (folder / "gunicorn.conf.py").write_text(f"bind = '127.0.0.1:{port}'\nworkers = 2\n")
    (folder / "supervisord.conf").write_text(replaced(SUPERVISORD))

    def ctl(*args):
        argv = [f"{tools}/supervisorctl", "-c", "supervisord.conf", *args]
        return subprocess.run(argv, cwd=folder, env=environment(), capture_output=True, text=True, timeout=BOUND).stdout

    supervisord = shell(f"{tools}/supervisord -c supervisord.conf")
    assert ask(port) == (200, "Hello, World!")
    wait_until(lambda: "RUNNING" in ctl("status"), "supervisord takes it for started")
    pid = int(ctl("pid", "site"))
    assert "master [probe:app]" in command(pid)
    before = ask(port, "/pid")
    ctl("signal", "HUP", "site")
    wait_until(lambda: ask(port, "/pid") != before, "new workers serve")
    assert int(ctl("pid", "site")) == pid

    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: int(ctl("pid", "site")) not in (0, pid), "it was started again")
    assert ask(port) == (200, "Hello, World!")
    assert "started" in ctl("restart", "site")
    assert ask(port) == (200, "Hello, World!")
    assert "stopped" in ctl("stop", "site")
    assert "STOPPED" in ctl("status")
    assert children_of(supervisord.pid) == [] and not alive(pid)
    shutil.copy(folder / "site.log", folder / "output.txt")  # for the end of the test to look at

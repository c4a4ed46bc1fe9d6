"""USR2: a second master beside the first, and what scripts do with the two of them."""

import json
import os
import signal
import socket

import pytest

from harness import Load, alive, children_of, command, environment, listening, ours, run, wait_until
from test_ctl import ask as ask_ctl, ctl
from test_systemd import activated, ask, count, notified  # noqa: F401

READY = """
def post_worker_init(worker):
    worker.log.info("ready")

def pre_exec(server):
    server.log.info("Forked child, re-executing.")
"""


@pytest.fixture
def upgraded(server, folder):
    """upgraded(*args): a server after USR2, once the workers of both masters serve; .second is the new master's pid."""
    second = []

    def upgraded(*args, **options):
        (folder / "gunicorn.conf.py").write_text(READY)
        s = server("probe:app", "-p", "x.pid", *args, folder=folder, **options)
        s.wait_log("ready\n")
        s.signal("USR2")
        file = folder / "x.pid.2"
        wait_until(lambda: file.exists() and file.read_text().endswith("\n"), "there is a second pid file")
        s.second = int(file.read_text())
        second.append(s.second)
        wait_until(lambda: s.log().count("[INFO] ready\n") == 2, "the second one serves, too")
        return s

    yield upgraded
    for pid in second:
        if alive(pid):
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not alive(pid), "the second master has ended")


def test_two_masters_serve_side_by_side(upgraded, folder):
    s = upgraded("-w", "1")
    assert s.log().count("] Forked child, re-executing.\n") == 1
    assert s.process.poll() is None and (folder / "x.pid").read_text() == f"{s.pid}\n"
    both = {*children_of(s.pid), *children_of(s.second)} - {s.second}
    assert len(both) == 2
    seen = set()
    wait_until(lambda: seen.add(int(s.get("/pid", "Connection: close").text)) or seen == both, "both are asked")


@pytest.mark.parametrize("name", ["TERM", "QUIT"])
def test_new_master_is_promoted_when_the_old_one_goes(upgraded, folder, name):
    s = upgraded("-b", "unix:x.sock")

    def one_round(server):
        reply = server.get("/hello", "Connection: close")
        assert reply.status == 200
        return reply

    with Load(s, 2, one_round) as load:
        load.wait_replies(20)
        s.signal(name)
        s.wait()
        wait_until(lambda: not (folder / "x.pid.2").exists(), "it is promoted")
        load.wait_replies(20)
    if name == "TERM":
        assert load.failures == []
    assert (folder / "x.pid").read_text() == f"{s.second}\n"
    assert "Master has been promoted.\n" in s.log()
    assert (folder / "x.sock").exists() and listening(s.port)
    os.kill(s.second, signal.SIGTERM)
    wait_until(lambda: not alive(s.second), "it has ended")
    assert not (folder / "x.pid").exists() and not (folder / "x.sock").exists() and not listening(s.port)


def test_old_master_goes_on_when_the_new_one_is_stopped(upgraded, folder):
    s = upgraded("-b", "unix:x.sock")
    os.kill(s.second, signal.SIGTERM)
    wait_until(lambda: not alive(s.second), "the new one has ended")
    assert not (folder / "x.pid.2").exists() and (folder / "x.sock").exists()
    assert s.get("/").status == 200 and (folder / "x.pid").read_text() == f"{s.pid}\n"
    s.stop()
    assert not (folder / "x.sock").exists()


@ours
@pytest.mark.parametrize("options", [[], ["--control-socket", "control.sock"]], ids=["", "elsewhere"])
def test_cwsgictl_knows_the_new_master_once_the_old_one_stops(upgraded, folder, options):
    s = upgraded(*options, "--graceful-timeout", "600")
    names = {f"127.0.0.1:{s.port}.pid", f"127.0.0.1:{s.port}.sock"}
    sockets = s.dir / ".cwsgi"
    arguments = ["-b", f"127.0.0.1:{s.port}", *options, "probe:app"]
    s.stop()
    wait_until(lambda: {p.name for p in sockets.iterdir()} == names, "it has the name of the address")
    assert ctl(s, "start", *arguments).out == f"cwsgi is running already (pid {s.second})\n"
    assert f"Reloaded: generation 2, 1 workers, pid {s.second}\n" in ask_ctl(s, "restart", *arguments)
    assert {p.name for p in sockets.iterdir()} == names
    shown = json.loads(ask_ctl(s, "status", "--json"))
    assert shown["pid"] == s.second and shown["socket"] == str(folder / "control.sock" if options else sockets / sorted(names)[1])
    os.kill(s.second, signal.SIGTERM)
    wait_until(lambda: not alive(s.second), "it has ended")
    assert not list(sockets.iterdir()) and not (folder / "control.sock").exists()


@ours
def test_old_master_that_is_killed_promotes_the_new_one(upgraded, folder):
    s = upgraded()
    s.status_expected = None
    s.signal("KILL")
    s.wait()
    wait_until(lambda: (folder / "x.pid").read_text() == f"{s.second}\n", "it is promoted")
    assert s.get("/").status == 200


@ours
def test_second_pid_file_goes_with_a_new_master_that_is_killed(upgraded, folder):
    s = upgraded()
    os.kill(s.second, signal.SIGKILL)
    wait_until(lambda: not (folder / "x.pid.2").exists(), "its pid file is gone")
    assert s.get("/").status == 200 and (folder / "x.pid").read_text() == f"{s.pid}\n"


@ours
def test_start_removes_the_second_pid_file_of_masters_that_were_killed_together(server, folder):
    (folder / "x.pid.2").write_text("77\n")
    s = server("hello:app", "-p", "x.pid", folder=folder)
    assert s.get("/").status == 200 and not (folder / "x.pid.2").exists()


def test_usr2_while_there_are_two_is_ignored(upgraded):
    s = upgraded()
    s.signal("USR2")
    s.wait_log("USR2 signal ignored. Child exists.")
    os.kill(s.second, signal.SIGUSR2)
    s.wait_log("USR2 signal ignored. Parent exists.")


@ours
def test_new_master_that_reloads_is_promoted_all_the_same(upgraded, folder):
    s = upgraded()
    os.kill(s.second, signal.SIGHUP)
    wait_until(lambda: s.log().count("[INFO] ready\n") == 3, "it has reloaded")
    assert (folder / "x.pid.2").read_text() == f"{s.second}\n"
    s.stop()
    wait_until(lambda: (folder / "x.pid").exists() and not (folder / "x.pid.2").exists(), "it is promoted")
    assert s.get("/").status == 200


@ours
def test_old_master_that_reloads_keeps_the_new_one(upgraded, folder):
    s = upgraded("-b", "unix:x.sock")
    s.signal("HUP")
    wait_until(lambda: s.log().count("[INFO] ready\n") == 3, "it has reloaded")
    s.stop()
    wait_until(lambda: not (folder / "x.pid.2").exists(), "the new one is promoted")
    assert (folder / "x.sock").exists() and s.get("/").status == 200


@ours
def test_new_release_that_does_not_load_leaves_the_old_one(server, folder):
    (folder / "shop.py").write_text((folder / "hello.py").read_text())
    s = server("shop:app", "-p", "x.pid", "-b", "unix:x.sock", folder=folder)
    s.tracebacks_expected = True
    workers = s.ready_workers(1)
    (folder / "shop.py").write_text("raise RuntimeError('no database')\n")
    s.signal("USR2")
    s.wait_log("exited with status 3; this one goes on")
    assert s.ready_workers(1) == workers and s.get("/").status == 200
    assert not (folder / "x.pid.2").exists() and (folder / "x.sock").exists()
    (folder / "shop.py").write_text((folder / "hello.py").read_text())
    s.signal("USR2")
    wait_until((folder / "x.pid.2").exists, "a better one may come")
    second = int((folder / "x.pid.2").read_text())
    s.stop()
    os.kill(second, signal.SIGTERM)
    wait_until(lambda: not alive(second), "it has ended")


def test_dance_of_a_daemon(folder):
    """As gunicorn's manual describes it: USR2, WINCH to the old one, second thoughts, USR2 again, QUIT to the old one."""
    (folder / "gunicorn.conf.py").write_text(READY)
    done = run("-D", "-p", "x.pid", "--log-file", "server.log", "-b", "unix:x.sock", "hello:app", cwd=folder)
    assert done.returncode == 0, done.stderr
    files, log = (folder / "x.pid", folder / "x.pid.2"), folder / "server.log"
    pids = set()

    def pid_in(file):
        wait_until(lambda: file.exists() and file.read_text().endswith("\n"), f"there is a {file.name}")
        pids.add(int(file.read_text()))
        return int(file.read_text())

    def ready(n):
        wait_until(lambda: log.exists() and log.read_text().count("] ready\n") == n, f"{n} workers have become ready")

    try:
        ready(1)
        old = pid_in(files[0])
        os.kill(old, signal.SIGUSR2)
        new = pid_in(files[1])
        ready(2)
        os.kill(old, signal.SIGWINCH)
        wait_until(lambda: children_of(old) == [new], "the old one has no workers")
        os.kill(old, signal.SIGHUP)
        ready(3)
        os.kill(new, signal.SIGTERM)
        wait_until(lambda: not alive(new), "the new one has ended")
        assert pid_in(files[0]) == old and not files[1].exists()

        os.kill(old, signal.SIGUSR2)
        new = pid_in(files[1])
        ready(4)
        os.kill(old, signal.SIGQUIT)
        wait_until(lambda: not alive(old) and not files[1].exists(), "the old one is gone, the new one is promoted")
        assert pid_in(files[0]) == new and (folder / "x.sock").exists()
        assert b" 200 OK" in ask(str(folder / "x.sock"))
    finally:
        for pid in pids:
            if alive(pid):
                os.kill(pid, signal.SIGTERM)
                wait_until(lambda: not alive(pid), f"{pid} has ended")
    assert not (folder / "x.sock").exists() and not files[0].exists()


@ours
def test_hook_before_the_second_master_that_raises_leaves_the_first_alone(server, folder):
    (folder / "gunicorn.conf.py").write_text("def pre_exec(server):\n    raise RuntimeError('not now')\n")
    s = server("hello:app", "-p", "x.pid", "-b", "unix:x.sock", folder=folder)
    s.tracebacks_expected = True
    workers = s.ready_workers(1)
    s.signal("USR2")
    s.wait_log("exited with status 1; this one goes on")
    assert s.ready_workers(1) == workers and (folder / "x.sock").exists()
    assert (folder / "x.pid").read_text() == f"{s.pid}\n"


@ours
def test_sockets_of_systemd_go_to_the_second_master(activated, folder, notified):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        p = activated([tcp], "-p", "x.pid")
        assert b" 200 OK" in ask(tcp.getsockname())
        p.send_signal(signal.SIGUSR2)
        file = folder / "x.pid.2"
        wait_until(lambda: file.exists() and file.read_text().endswith("\n"), "there is a second pid file")
        second = int(file.read_text())
        try:
            p.terminate()
            assert p.wait() == 0
            wait_until(lambda: (folder / "x.pid").exists() and not file.exists(), "it is promoted")
            assert b" 200 OK" in ask(tcp.getsockname())
            assert command(second)
        finally:
            os.kill(second, signal.SIGTERM)
            wait_until(lambda: not alive(second), "it has ended")


@ours
def test_systemd_learns_which_master_goes_on(upgraded, folder, notified):  # noqa: F811
    s = upgraded(env=environment(NOTIFY_SOCKET=str(folder / "notify")))
    s.stop()
    wait_until(lambda: count(notified, f"MAINPID={s.second}") >= 2, "both have said it")
    assert count(notified, "STOPPING=1") == 0
    os.kill(s.second, signal.SIGTERM)
    wait_until(lambda: count(notified, "STOPPING=1") == 1, "it stops")

"""cwsgictl and the control socket: finding the server, asking it, starting and stopping it, whatever has happened."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import BINARY, BOUND, Load, environment, free_port, listening, processes, wait_until

pytestmark = pytest.mark.ours

CTL = str(Path(BINARY).with_name("cwsgictl"))
OK, FAILED, USAGE, NOT_RUNNING = 0, 1, 2, 3


class Done:
    def __init__(self, process):
        self.status, self.out, self.err = process.returncode, process.stdout, process.stderr


def run(home, *args, cwd=None, env=None, **options):
    """cwsgictl as cron runs it: hardly an environment."""
    env = {"HOME": str(home), "PATH": "", **(env or sanitizers())}
    argv = [CTL, *map(str, args)]
    return Done(
        subprocess.run(
            argv, cwd=cwd or home, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND, **options
        )
    )


def sanitizers():
    return {k: v for k, v in environment().items() if k.endswith("SAN_OPTIONS")}


def ctl(server, *args, **options):
    return run(server.dir, *args, **options)


def ask(server, *args):
    done = ctl(server, *args)
    assert done.status == OK, done.err
    return done.out


def status(server):
    """Also while no worker serves, which is another exit status."""
    done = ctl(server, "status", "--json")
    assert done.status in (OK, FAILED) and done.out, done.err
    return json.loads(done.out)


def control_socket(server):
    (path,) = (server.dir / ".cwsgi").glob("*.sock")
    return path


def answers(server):
    s = server("probe:app", "-w", "2")
    s.ready_workers(2)
    return s


def release(folder, text):
    """An application that answers with `text`."""
    (folder / "release.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        f"    return [{text.encode()!r}]\n"
    )


def is_alive(pid):
    return any(p == pid and state != "Z" for p, _, _, state in processes())


@pytest.fixture
def started(folder):
    """started(*arguments): cwsgictl start with them, in a folder of its own that is the home, too."""
    yield lambda *args: run(folder, "start", *args)
    for line in run(folder, "list").out.splitlines():
        pid = line.split()[0]
        assert run(folder, "-i", pid, "stop", "--now").status == OK
    assert run(folder, "list").status == NOT_RUNNING


# Status.


def test_status_counts_what_was_answered(server):
    s = answers(server)
    for _ in range(5):
        assert s.get("/").status == 200
    assert s.send_raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    wait_until(lambda: status(s)["counters"]["requests"] == 6, "all are counted")
    seen = status(s)
    assert seen["counters"]["status_2xx"] == 5 and seen["counters"]["status_4xx"] == 1
    assert seen["counters"]["refused"] == 1 and seen["counters"]["errors"] == 0
    assert seen["counters"]["bytes_sent"] >= 5 * len("Hello, World!")
    assert seen["counters"]["accepted"] == 6
    assert seen["latency_us"]["p50"] > 0 and seen["latency_us"]["p99.9"] >= seen["latency_us"]["p50"]
    assert seen["pid"] == s.pid and seen["generation"] == 1 and seen["state"] == "serving"
    assert seen["addresses"] == [f"http://127.0.0.1:{s.port}"]
    assert sorted(w["pid"] for w in seen["workers"]) == s.children()
    assert all(w["rss"] > 2**20 and w["state"] == "idle" for w in seen["workers"])
    assert sum(w["counters"]["requests"] for w in seen["workers"]) == 6
    s.wait_access('"GET / ', 5)  # lines wait for each other for a moment
    s.wait_access('" 400 ')
    assert status(s)["logs"]["access"]["bytes"] == s.access_path.stat().st_size
    text = ask(s, "status")
    assert f"pid {s.pid}, serving" in text and "6 answered: 5 2xx" in text and str(s.children()[0]) in text


def test_status_shows_what_runs(server):
    s = answers(server)
    reply = s.background("get", "/wait?file=go&secret=%1b%5b31m")
    s.wait_call("/wait")
    (busy,) = wait_until(lambda: [w for w in status(s)["workers"] if w["state"] == "busy"], "one is busy")
    assert busy["request"]["method"] == "GET" and busy["request"]["target"].startswith("/wait?file=go")
    assert busy["request"]["client"] == "127.0.0.1" and busy["request"]["age_us"] > 0
    assert busy["running"] == 1 and busy["connections"] == 1
    assert "GET /wait?file=go" in ask(s, "status")
    (s.dir / "go").touch()
    assert reply.result().status == 200
    wait_until(lambda: all(w["state"] == "idle" and not w["request"] for w in status(s)["workers"]), "all are idle")


def test_threads_show_the_oldest_request_and_those_that_wait(server):
    s = server("probe:app", "--threads", "2")
    replies = [s.background("get", f"/wait?file=go&n={n}") for n in range(3)]
    (worker,) = wait_until(
        lambda: [w for w in status(s)["workers"] if w["running"] == 2 and w["waiting"] == 1], "two run, one waits"
    )
    assert worker["request"]["target"].startswith("/wait?file=go")
    (s.dir / "go").touch()
    assert [r.result().status for r in replies] == [200] * 3
    wait_until(lambda: status(s)["workers"][0]["running"] == 0, "none runs")


def test_bytes_of_a_target_do_no_harm(server):
    s = answers(server)
    with s.connect() as c:
        c.send(b"GET /wait?file=go&x=\"'\\ HTTP/1.1\r\nHost: x\r\n\r\n")
        s.wait_call("/wait")
        (busy,) = wait_until(lambda: [w for w in status(s)["workers"] if w["request"]], "it is shown")
        assert busy["request"]["target"] == "/wait?file=go&x=\"'\\"
        assert "x=\"'\\ from" in ask(s, "status")
        (s.dir / "go").touch()
        assert c.reply().status == 200


def test_certificates_are_shown(server, certificate):
    s = server("hello:app", tls=certificate)
    assert s.get("/").status == 200
    with socket.create_connection(("127.0.0.1", s.port)) as plain:
        plain.sendall(b"\x16\x03\x01\x00\x04what")
        assert plain.recv(100) is not None
    (shown,) = status(s)["certificates"]
    assert shown["names"] == ["localhost", "127.0.0.1"] and 28 <= shown["days_left"] <= 30
    assert shown["path"] == str(certificate.cert)
    wait_until(lambda: status(s)["counters"]["handshakes_failed"] == 1, "the broken handshake is counted")
    assert status(s)["counters"]["handshakes"] == 1
    assert "localhost" in ask(s, "status")


def test_counts_outlive_workers_and_reloads(server):
    s = answers(server)
    for _ in range(20):
        assert s.get("/").status == 200
    for pid in s.children():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: status(s)["events"]["workers_crashed"] == 2, "both are seen to have ended")
    assert status(s)["counters"]["requests"] == 20
    s.ready_workers(2)
    assert "2 workers crashed\n" in ask(s, "status")
    assert "Reloaded: generation 2" in ask(s, "reload")
    wait_until(lambda: len(status(s)["workers"]) == 2, "the old ones are gone")
    assert s.get("/").status == 200
    wait_until(lambda: status(s)["counters"]["requests"] == 21, "the last one is counted, too")
    assert status(s)["events"]["reloads"] == 1
    assert [w["generation"] for w in status(s)["workers"]] == [2, 2]


def test_workers_that_hang_are_counted(server):
    s = server("probe:app", "--timeout", "1")
    s.tracebacks_expected = True  # of the call that is broken off
    reply = s.background("get", "/wait?file=never")
    wait_until(lambda: status(s)["events"]["workers_timed_out"] == 1, "its time is over")
    assert reply.result().status == 504
    wait_until(lambda: "1 timed out\n" in ctl(s, "status").out, "status tells it")


def test_killed_worker_leaves_its_request_in_the_log(server):
    s = answers(server)
    s.background("get", "/wait?file=never")
    s.wait_call("/wait")
    (busy,) = wait_until(lambda: [w for w in status(s)["workers"] if w["request"]], "it is shown")
    os.kill(busy["pid"], signal.SIGKILL)
    s.wait_log(f"Worker (pid:{busy['pid']}) was running GET /wait?file=never from 127.0.0.1\n")


def test_no_server_is_a_status_of_its_own(folder):
    for command_line in ["status"], ["reload"], ["dump"], ["list"], ["top"], ["workers", "+1"]:
        done = run(folder, *command_line)
        assert done.status == NOT_RUNNING and "running" in done.err, command_line
    assert run(folder, "stop").status == OK
    assert not (folder / ".cwsgi").exists()


@pytest.mark.parametrize("args", [["bla"], ["status", "--bla"], ["workers"], ["workers", "x"], ["-i"], []])
def test_wrong_usage(folder, args):
    assert run(folder, *args).status == USAGE


def test_killed_master_leaves_nothing_in_the_way(server):
    s = answers(server)
    s.status_expected = None
    os.kill(s.pid, signal.SIGKILL)
    s.process.wait()
    wait_until(lambda: not listening(s.port), "its workers are gone")
    assert control_socket(s).exists()
    assert ctl(s, "status").status == NOT_RUNNING
    second = server("probe:app", folder=s.dir, port=s.port)
    assert status(second)["pid"] == second.pid
    assert second.stop() == 0
    assert not list((s.dir / ".cwsgi").iterdir())


def test_start_removes_what_killed_servers_have_left(server, tmp_path):
    folder = tmp_path / ".cwsgi"
    folder.mkdir(mode=0o700)
    for name in "127.0.0.1:1-77", "127.0.0.1:1-78", "fd-79":
        (folder / f"{name}.pid").write_text("77\n")
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(folder / f"{name}.sock"))
    for name in "notes.pid", "notes-1.txt", "127.0.0.1:1.pid":
        (folder / name).write_text("1\n")
    (folder / "notes-2.pid").write_text("for me\n")
    with open(folder / "127.0.0.1:1-78.pid") as lives:
        fcntl.flock(lives, fcntl.LOCK_EX)
        s = server("hello:app", env=environment(HOME=str(tmp_path)))
        assert s.get("/").status == 200
        assert {p.name for p in folder.iterdir()} == {
            "127.0.0.1:1-78.pid",
            "127.0.0.1:1-78.sock",
            "127.0.0.1:1.pid",
            "notes.pid",
            "notes-1.txt",
            "notes-2.pid",
            f"127.0.0.1:{s.port}.pid",
            f"127.0.0.1:{s.port}.sock",
        }


def test_server_that_does_not_answer_is_not_taken_for_none(server):
    s = answers(server)
    os.kill(s.pid, signal.SIGSTOP)
    try:
        lines = "status", "stop", f"-i {s.port} status", "-i other stop", "list", "list --json"
        with ThreadPoolExecutor(len(lines)) as pool:  # each of them waits for some seconds
            *asked, listed, as_json = pool.map(lambda line: ctl(s, *line.split()), lines)
        for done in asked:
            assert done.status == FAILED and f"does not answer (pid {s.pid})" in done.err
        assert f"{s.pid}  not answering" in listed.out
        assert json.loads(as_json.out) == [{"pid": s.pid, "state": "not answering"}]
    finally:
        os.kill(s.pid, signal.SIGCONT)
    assert status(s)["pid"] == s.pid


# Which server.


def test_instance_is_found_by_what_one_knows_of_it(server, tmp_path):
    home = {"env": environment(HOME=str(tmp_path))}
    a = server("probe:app", "--pid", "a.pid", "--name", "first", **home)
    b = server("hello:app", **home)
    done = run(tmp_path, "status")
    assert done.status == FAILED and f"{a.pid}  serving" in done.err and f"{b.pid}  serving" in done.err
    for what in a.pid, a.port, f"127.0.0.1:{a.port}", a.dir, a.dir / "a.pid", "first", "probe:app", f"http://127.0.0.1:{a.port}":
        shown = json.loads(run(tmp_path, "-i", what, "status", "--json").out)
        assert shown["pid"] == a.pid, what
    assert json.loads(run(tmp_path, "status", "--json", cwd=b.dir).out)["pid"] == b.pid
    assert run(tmp_path, "-i", "other", "status").status == NOT_RUNNING
    assert {s["pid"] for s in json.loads(run(tmp_path, "list", "--json").out)} == {a.pid, b.pid}
    assert run(tmp_path, "-i", "first", "stop").status == OK
    assert a.wait() == 0
    assert json.loads(run(tmp_path, "status", "--json").out)["pid"] == b.pid


def test_socket_is_never_taken_over(server, tmp_path):
    path = tmp_path / "shared.sock"
    first = server("hello:app", "--control-socket", path)
    second = server("hello:app", "--control-socket", path, "--log-level", "debug")
    assert second.get("/").status == 200
    second.wait_log(f"No control socket: {path}: Address already in use\n")
    assert json.loads(run(tmp_path, "-i", path, "status", "--json").out)["pid"] == first.pid
    assert second.stop() == 0
    assert json.loads(run(tmp_path, "-i", path, "status", "--json").out)["pid"] == first.pid
    assert status(first)["socket"] == str(path)  # and it is found without being told where


def test_name_of_the_address_goes_to_the_server_that_stays(server, tmp_path):
    """Of two starts at the same moment one may get the name, and the other one the port."""
    folder, port = tmp_path / ".cwsgi", free_port()
    folder.mkdir(mode=0o700)
    with open(folder / f"127.0.0.1:{port}.pid", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        s = server("hello:app", port=port, env=environment(HOME=str(tmp_path)))
        own = folder / f"127.0.0.1:{port}-{s.pid}.sock"
        wait_until(own.exists, "its name has its pid in it")
        asking = socket.socket(socket.AF_UNIX)
        asking.connect(str(own))
    wait_until(lambda: not own.exists(), "it takes the name of the address")
    asking.sendall(b"identity\n")
    assert asking.recv(5) == b"done "
    asking.close()
    assert sorted(p.name for p in folder.iterdir()) == [f"127.0.0.1:{port}.pid", f"127.0.0.1:{port}.sock"]
    assert run(tmp_path, "start", "-b", f"127.0.0.1:{port}", "hello:app", cwd=s.dir).out == f"cwsgi is running already (pid {s.pid})\n"


def test_no_socket_when_none_is_wanted(server):
    s = server("hello:app", "--no-control-socket")
    assert s.get("/").status == 200
    assert not (s.dir / ".cwsgi").exists()
    assert ctl(s, "list").status == NOT_RUNNING


def test_mode_of_the_socket(server):
    s = server("hello:app")
    assert control_socket(s).stat().st_mode & 0o777 == 0o600
    assert control_socket(s).parent.stat().st_mode & 0o777 == 0o700
    s = server("hello:app", "--control-socket-mode", "0660")
    assert control_socket(s).stat().st_mode & 0o777 == 0o660


@pytest.mark.parametrize("home", ["/nonexistent", "/proc"])
def test_home_that_cannot_be_written(server, tmp_path, home):
    env = environment(HOME=home, XDG_RUNTIME_DIR=str(tmp_path))
    s = server("hello:app", env=env)
    assert s.get("/").status == 200
    done = run(home, "status", "--json", cwd=tmp_path, env={"XDG_RUNTIME_DIR": str(tmp_path), **sanitizers()})
    assert json.loads(done.out)["socket"] == f"{tmp_path}/cwsgi/127.0.0.1:{s.port}.sock"


def test_long_path_of_the_home(server, tmp_path):
    home = tmp_path / ("long" * 30)
    home.mkdir()
    s = server("hello:app", env=environment(HOME=str(home)))
    assert json.loads(run(home, "status", "--json").out)["pid"] == s.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_other_users_are_refused(server, tmp_path):
    try:
        assert run("/", "--version", user="nobody", cwd="/", env={}).status == OK
    except PermissionError:
        pytest.skip("other users may not run what is built here")
    path = Path("/tmp") / f"cwsgi-test-{free_port()}.sock"
    s = server("hello:app", "--control-socket", path)
    path.chmod(0o666)  # by mistake
    try:
        done = run("/", "-i", path, "status", user="nobody", cwd="/", env={})
        assert done.status != OK and "pid" not in done.out
        s.wait_log("A command on the control socket was refused: it came from another user\n")
        assert status(s)["pid"] == s.pid
    finally:
        assert s.stop() == 0
    assert not path.exists()


# What comes over the socket is for a server that goes on in any case.


def test_bad_clients_are_left(server):
    s = answers(server)
    path = str(control_socket(s))

    def connect():
        c = socket.socket(socket.AF_UNIX)
        c.settimeout(BOUND)
        c.connect(path)
        return c

    for data in b"x" * 100000, b"\0\n", b"status \xff json\n" * 1, b"\n", b"workers 99999999999999999999\n":
        with connect() as c:
            try:
                c.sendall(data)
                c.recv(1000)
            except OSError:
                pass  # it was left in the middle
    silent = [connect() for _ in range(7)]
    assert status(s)["pid"] == s.pid
    with connect() as deaf:
        deaf.sendall(b"config\n" * 500)  # and its answers are not read
        for c in silent:
            c.close()
        assert status(s)["pid"] == s.pid
    assert s.get("/").status == 200
    wait_until(lambda: status(s)["pid"] == s.pid, "it answers")


# Reload and restart.


def test_reload_shows_why_it_was_refused(server, folder):
    release(folder, "one")
    s = server("release:app", folder=folder)
    s.tracebacks_expected = True
    assert s.get("/").text == "one"
    (s.dir / "release.py").write_text("import json\nraise RuntimeError('broken release')\n")
    done = ctl(s, "reload")
    assert done.status == FAILED
    assert "RuntimeError: broken release" in done.err and "the old release keeps serving" in done.err
    assert s.get("/").text == "one"
    assert status(s)["events"]["reloads_refused"] == 1
    release(s.dir, "two")
    assert ask(s, "reload") == f"Reloaded: generation 2, 1 workers, pid {s.pid}\n"
    assert s.get("/").text == "two"


def test_restart_leaves_no_request_unanswered(server):
    s = answers(server)
    with Load(s, 4, lambda server: server.get("/pid").status) as load:
        load.wait_replies(20)
        for generation in 2, 3, 4:
            assert f"generation {generation}" in ask(s, "restart")
        load.wait_replies(20)
    assert not load.failures and set(load.replies) == {200}


def test_two_reloads_at_once(server):
    s = answers(server)
    a, b = (subprocess.Popen([CTL, "reload"], env={"HOME": str(s.dir), **sanitizers()}, cwd=s.dir) for _ in range(2))
    statuses = sorted([a.wait(BOUND), b.wait(BOUND)])
    assert statuses in ([OK, OK], [OK, FAILED])  # the later one may have taken the place of the other
    assert status(s)["generation"] >= 2


# Start and stop.


def arguments(port):
    return ["-b", f"127.0.0.1:{port}", "--log-file", "server.log", "-w", "2", "probe:app"]


def test_start_from_a_bare_environment(started, folder):
    port = free_port()
    first = started(*arguments(port))
    assert first.status == OK, first.err
    pid = int(re.fullmatch(rf"cwsgi serves http://127\.0\.0\.1:{port} \(pid (\d+)\)\n", first.out)[1])
    assert listening(port) and is_alive(pid)
    second = started(*arguments(port))
    assert (second.status, second.out) == (OK, f"cwsgi is running already (pid {pid})\n")
    assert run(folder, "--quiet", "start", *arguments(port)).out == ""
    shown = json.loads(run(folder, "status", "--json").out)
    assert shown["pid"] == pid and len(shown["workers"]) == 2
    done = run(folder, "stop")
    assert (done.status, done.out) == (OK, f"cwsgi has stopped (pid {pid})\n")
    assert not is_alive(pid) and not listening(port)


def test_start_many_times_at_the_same_moment(started, folder):
    port = free_port()
    env = {"HOME": str(folder), "PATH": "", **sanitizers()}
    racers = [
        subprocess.Popen([CTL, "start", *arguments(port)], cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    outputs = [r.communicate(timeout=BOUND)[0] for r in racers]
    assert [r.returncode for r in racers] == [OK] * 5, outputs
    assert len([o for o in outputs if "cwsgi serves" in o]) == 1, outputs
    masters = [line for line in run(folder, "list").out.splitlines()]
    assert len(masters) == 1


def test_start_shows_why_not(started, folder):
    port = free_port()
    (folder / "broken.py").write_text("raise RuntimeError('it cannot start')\n")
    done = started("-b", f"127.0.0.1:{port}", "--log-file", "server.log", "broken:app")
    assert done.status == FAILED and done.out == ""
    assert "RuntimeError: it cannot start" in done.err + (folder / "server.log").read_text()
    done = started("-b", f"127.0.0.1:{port}", "--bogus")
    assert done.status == USAGE and "--bogus" in done.err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = started(*arguments(port))
        assert done.status == FAILED and str(port) in done.err


def test_restart_with_arguments_starts_what_does_not_run(started, folder):
    port = free_port()
    assert run(folder, "restart", *arguments(port)).status == OK
    pid = json.loads(run(folder, "status", "--json").out)["pid"]
    done = run(folder, "restart", *arguments(port))
    assert (done.status, done.out) == (OK, f"Reloaded: generation 2, 2 workers, pid {pid}\n")
    done = run(folder, "restart", "-w", "3", *arguments(port))
    assert done.status == OK and "It keeps the arguments that it was started with" in done.out


def test_stop_waits_for_a_request(server):
    s = answers(server)
    reply = s.background("get", "/pid?sleep=2")
    s.wait_call("sleep=2")
    assert ctl(s, "stop").status == OK
    assert not is_alive(s.pid) or s.process.poll() is not None
    assert reply.result().status == 200


def test_stop_now_does_not(server):
    s = server("probe:app", "--graceful-timeout", "600")
    s.tracebacks_expected = True
    s.background("get", "/wait?file=never")
    s.wait_call("/wait")
    assert ctl(s, "stop", "--now").status == OK
    assert s.wait() == 0


def test_name_is_free_while_the_last_request_runs(server):
    s = server("probe:app", "--graceful-timeout", "600")
    reply = s.background("get", "/wait?file=go")
    s.wait_call("/wait")
    stopping = subprocess.Popen([CTL, "stop"], cwd=s.dir, env={"HOME": str(s.dir), **sanitizers()})
    wait_until(lambda: not listening(s.port), "nobody listens")
    assert ctl(s, "list").status == NOT_RUNNING
    second = run(s.dir, "start", "-b", f"127.0.0.1:{s.port}", "--log-file", "second.log", "probe:app")
    assert second.status == OK and "cwsgi serves" in second.out, second.err
    assert stopping.poll() is None
    (s.dir / "go").touch()
    assert reply.result().status == 200
    assert stopping.wait(BOUND) == OK
    assert s.wait() == 0
    assert run(s.dir, "stop").status == OK


# The others.


def test_workers(server):
    s = server("probe:app", "-w", "2")
    s.workers(2)
    assert ask(s, "workers", "+2") == "4 workers, before: 2\n"
    s.workers(4)
    assert ask(s, "workers", "-3") == "1 workers, before: 4\n"
    s.workers(1)
    assert ask(s, "workers", "3") == "3 workers, before: 1\n"
    s.workers(3)
    for wrong in "0", "-3", "5000", "99999999999999":
        assert ctl(s, "workers", wrong).status != OK
    assert len(s.workers(3)) == 3


def test_dump_shows_where_every_worker_stands(server):
    s = server("probe:app", "-w", "2")
    s.ready_workers(2)
    reply = s.background("get", "/wait?file=go")
    s.wait_call("/wait")
    text = ask(s, "dump")
    assert "in wait_for" in text and "most recent call first" in text
    for pid in s.children():
        assert f"Worker (pid:{pid})" in text
    s.wait_log("in wait_for")
    (s.dir / "go").touch()
    assert reply.result().status == 200
    assert "in wait_for" not in ask(s, "dump")


def test_dump_of_a_worker_that_does_not_answer(server):
    s = server("probe:app", "-w", "2")
    pids = s.ready_workers(2)
    os.kill(pids[0], signal.SIGSTOP)
    try:
        text = ask(s, "dump")
    finally:
        os.kill(pids[0], signal.SIGCONT)
    assert f"Worker (pid:{pids[0]}) does not answer" in text
    assert f"Worker (pid:{pids[1]})\n" in text and "most recent call first" in text


def test_dump_after_a_reload(server):
    s = answers(server)
    ask(s, "reload")
    wait_until(lambda: len(status(s)["workers"]) == 2, "the old ones are gone")
    text = ask(s, "dump")
    assert text.count("most recent call first") == 2 and "does not answer" not in text


def test_reopen(server):
    s = server("hello:app", "--log-file", "server.log")
    assert s.get("/").status == 200
    s.wait_access("GET /")
    s.access_path.rename(s.dir / "access.1")
    ask(s, "reopen")
    wait_until(lambda: s.get("/").status == 200 and s.access_path.exists(), "it is opened again")


def test_config(server):
    s = server("probe:app", "-w", "2", "--timeout", "77")
    assert re.search(r"^timeout +[:=] 77$", ask(s, "config"), re.M)
    settings = json.loads(ask(s, "config", "--json"))
    assert settings["timeout"] == 77 and settings["workers"] == 2 and settings["reload"] is False
    assert settings["bind"] == [f"127.0.0.1:{s.port}"] and settings["certfile"] is None


def test_top_in_a_terminal(server):
    s = answers(server)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(CTL, [CTL, "top"], {"HOME": str(s.dir), "TERM": "xterm"})
    seen = b""

    def read(text):
        nonlocal seen
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                pass  # it has closed the terminal
        return text in seen

    wait_until(lambda: read(b"per second"), "the first picture is there")
    assert str(s.pid).encode() in seen and b"\x1b[?1049h" in seen
    seen = b""
    wait_until(lambda: read(b"per second"), "the next one comes by itself")
    os.write(terminal, b"q")
    wait_until(lambda: read(b"\x1b[?1049l"), "the screen is as before")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert "per second" in ask(s, "top")  # without a terminal: once


# cron.


@pytest.fixture
def crontab(tmp_path):
    """A crontab program: its file, and a PATH that leads to it."""
    folder, table = tmp_path / "bin", tmp_path / "crontab.txt"
    folder.mkdir()
    program = folder / "crontab"
    program.write_text(f'#!/bin/sh\nif [ "$1" = -l ]; then /bin/cat {table}; else /bin/cat >{table}; fi\n')
    program.chmod(0o755)
    table.write_text("MAILTO=me\n5 5 * * * /bin/true\n")
    return table, {"PATH": str(folder), **sanitizers()}


def commands_of(lines):
    return [line.split(None, 1 if line[0] == "@" else 5)[-1] for line in lines if not line.startswith("#")]


def test_cron_prints_lines_that_work(started, folder):
    port = free_port()
    argv = [*arguments(port)[:-1], "--name", "it's 5% \"more\"", "probe:app"]
    done = run(folder, "cron", *argv)
    assert done.status == OK
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["@reboot", "*/10", "1"]
    boot, watch, nightly = (c.replace("\\%", "%") for c in commands_of(lines))  # cron takes the backslash away
    for shell_command, words in (boot, ""), (watch, ""), (nightly, "Reloaded"):
        env = {"HOME": str(folder), "PATH": "/usr/bin:/bin", **sanitizers()}
        ran = subprocess.run(["/bin/sh", "-c", shell_command], cwd="/", env=env, capture_output=True, text=True, timeout=BOUND)
        assert (ran.returncode, ran.stdout) == (OK, ""), ran.stderr
    shown = json.loads(run(folder, "status", "--json").out)
    assert shown["name"] == "it's 5% \"more\"" and shown["generation"] == 2
    again = run(folder, "cron")  # of what runs: the same lines
    assert again.status == OK and again.out == done.out


def test_cron_keeps_the_link_to_the_current_release(folder, tmp_path):
    link = tmp_path / "current"
    link.symlink_to(folder)
    env = {"HOME": str(folder), "PATH": "", "PWD": str(link), **sanitizers()}
    done = run(folder, "cron", "-b", f"127.0.0.1:{free_port()}", "hello:app", cwd=link, env=env)
    assert done.status == OK
    for line in commands_of(done.out.splitlines()):
        assert str(link) in line and f"{folder} " not in line


def test_cron_installs_its_lines_once(folder, crontab):
    table, env = crontab
    before = table.read_text()
    for port in "8001", "8002":
        done = run(folder, "cron", "--install", "-b", f"127.0.0.1:{port}", "hello:app", env=env)
        assert done.status == OK, done.err
        text = table.read_text()
        assert text.startswith(before)
        assert text.count("@reboot") == 1 and f"127.0.0.1:{port}" in text
    other = folder / "other"
    other.mkdir()
    assert run(folder, "cron", "--install", "hello:app", env=env, cwd=other).status == OK
    assert table.read_text().count("@reboot") == 2
    assert run(folder, "cron", "--install", "hello:app").status == FAILED  # there is no crontab program in this PATH


@pytest.mark.parametrize(
    "says, status, kept",
    [
        ("no crontab for me", 1, False),
        ("crontab: can't open 'me': No such file or directory", 1, False),
        ("crontab: Input/output error", 1, True),
        ("You (me) are not allowed to use this program", 1, True),
    ],
)
def test_cron_overwrites_no_crontab_that_it_cannot_read(folder, crontab, says, status, kept):
    table, env = crontab
    before = table.read_text()
    Path(env["PATH"], "crontab").write_text(
        f'#!/bin/sh\nif [ "$1" = -l ]; then echo "{says}" >&2; exit {status}; else /bin/cat >{table}; fi\n'
    )
    done = run(folder, "cron", "--install", "hello:app", env=env)
    assert (done.status == FAILED) == kept
    assert (table.read_text() == before) == kept
    assert (says in done.err) == kept


# Help, and what shells make of it.


def test_help_names_every_command():
    text = subprocess.run([CTL, "--help"], capture_output=True, text=True, check=True).stdout
    man = subprocess.run([CTL, "--describe", "man"], capture_output=True, text=True, check=True).stdout
    for name in "status top start stop restart reload reopen workers dump config list cron".split():
        assert re.search(rf"^  {name}\b", text, re.M) and re.search(rf"^\.B {name}\b", man, re.M), name
    assert subprocess.run([CTL, "--version"], capture_output=True, text=True).stdout.startswith("cwsgictl (version ")


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_bash_completes():
    script = subprocess.run([CTL, "--describe", "bash"], capture_output=True, text=True, check=True).stdout
    for words, expected in ("cwsgictl re", ["reload", "reopen", "restart"]), ("cwsgictl -i x stop --", ["--now"]):
        line = words.split(" ")
        probe = f'{script}\nCOMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; _cwsgictl; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", probe], capture_output=True, text=True, check=True)
        assert sorted(done.stdout.split()) == expected


@pytest.mark.skipif(not shutil.which("man"), reason="there is no man")
def test_man_page_is_in_order(tmp_path):
    page = tmp_path / "cwsgictl.1"
    page.write_text(subprocess.run([CTL, "--describe", "man"], capture_output=True, text=True, check=True).stdout)
    done = subprocess.run(["man", "--warnings", "-l", page], capture_output=True, text=True, env={**os.environ, "MANPAGER": "cat"})
    assert "workers +N|-N|N" in done.stdout and done.stderr == ""

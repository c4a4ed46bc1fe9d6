"""Master and workers: signals, deaths, reloads, and that nobody's request is lost by them."""

import contextlib
import fcntl
import os
import pwd
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from harness import THREADED, WORKER_CLASS, Load, free_port, has_loop, listening, ours, processes, wait_until
from wire import Broken, encode


def ended(pid):
    return not any(p == pid and state != "Z" for p, _, _, state in processes())


def sockets(pid):
    """How many of them a process holds."""
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += os.readlink(fd).startswith("socket:")
    return count


def unanswered(reply):
    """True if the request was given up: with an error, if there was somebody left to send it."""
    try:
        return reply.result().status in (500, 503, 504)
    except (Broken, ConnectionResetError):
        return True


def get_pid(server):
    reply = server.get("/pid", "Connection: close")
    assert reply.status == 200
    return int(reply.text)


def test_requests_run_in_workers_only(server):
    s = server("probe:app", "-w", "3")
    workers = s.workers(3)
    assert {get_pid(s) for _ in range(30)} <= set(workers)


def test_log_tells_the_start(server):
    s = server("probe:app", "-w", "2")
    workers = s.workers(2)
    for pid in workers:
        s.wait_log(f"[{pid}] [INFO] Booting worker with pid: {pid}\n")
    assert f"[{s.pid}] [INFO] Listening at: http://127.0.0.1:{s.port} ({s.pid})\n" in s.log()
    assert f"[{s.pid}] [INFO] Using worker: {WORKER_CLASS}\n" in s.log()


# Stopping.


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_idle_server_stops(server, name):
    s = server("probe:app", "-w", "2")
    s.workers(2)
    assert get_pid(s)
    assert s.stop(name) == 0
    assert not listening(s.port)
    assert f"Handling signal: {name.lower()}\n" in s.log()
    assert "Shutting down: Master" in s.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start workers as another user")
def test_logs_belong_to_the_user_of_the_workers(server):
    nobody = pwd.getpwnam("nobody")
    args = ["--user", "nobody", "--preload", "--log-file", "logs/server.log", "--access-logfile", "logs/access.log"]
    s = server("hello:app", *args)
    logs = s.dir / "logs" / "server.log", s.dir / "logs" / "access.log"
    assert s.get("/").status == 200
    s.wait_log("Booting worker")
    for i in range(2):
        assert [(log.stat().st_uid, log.stat().st_gid) for log in logs] == [(nobody.pw_uid, os.getegid())] * 2
        wait_until(lambda: "GET / " in logs[1].read_text(), "the line is in the access log")
        if i == 0:
            for log in logs:
                log.rename(log.with_suffix(".1"))
            s.signal("USR1")
            wait_until(lambda: all(log.exists() for log in logs), "both are opened again")
            wait_until(lambda: s.get("/").status == 200 and logs[1].read_text(), "the worker has opened it, too")


def test_stop_at_once_after_the_start(server):
    for _ in range(5):
        assert server("probe:app", "-w", "3").stop() == 0


def test_worker_that_is_told_to_go_before_it_has_begun(server):
    s = server("probe:app")
    seen = set()
    for name in [signal.SIGTERM, signal.SIGINT] * 10:
        (worker,) = wait_until(lambda: [p for p in s.children() if p not in seen and has_loop(p)], "one has a loop")
        os.kill(worker, name)
        seen.add(worker)
    assert get_pid(s) not in seen
    assert "SIGABRT" not in s.log()


def test_term_lets_a_request_finish(server):
    s = server("probe:app", "-w", "2")
    reply = s.background("get", "/pid?sleep=2")
    s.wait_call("sleep=2")
    assert s.stop() == 0
    assert reply.result().status == 200


@ours
def test_term_answers_what_waits_in_the_queue(server):
    s = server("probe:app", "-w", "1", "--graceful-timeout", "100")
    running = s.background("get", "/wait?file=go")
    s.wait_call("/wait")
    with s.connect() as queued, s.connect() as half:
        queued.send(encode("GET", "/?queued"))
        half.send(b"GET / HTTP/1.1\r\n")
        s.signal("TERM")
        s.wait_log("Handling signal: term")
        (s.dir / "go").touch()
        assert running.result().status == 200
        reply = queued.reply()
        assert reply.status == 200
        assert THREADED or reply["Connection"] == "close"  # another thread may have answered it before the signal
        half.send(b"Host: x\r\n\r\n")
        assert half.reply().status == 200
    assert s.wait() == 0


@ours
def test_term_closes_idle_connections_at_once(server):
    s = server("probe:app", "--keep-alive", "600", "--graceful-timeout", "600")
    (worker,) = s.ready_workers(1)
    with s.connect() as idle:
        assert idle.get("/").status == 200
        before = sockets(worker)
        with s.connect() as silent:
            wait_until(lambda: sockets(worker) == before + 1, "the silent one is accepted, too, after a second")
            assert s.stop() == 0
            assert idle.closed() and silent.closed()


@ours
def test_client_that_has_not_spoken_when_the_server_stops_is_told_when_it_does(server):
    s = server("probe:app")
    with s.connect() as silent:
        assert s.stop() == 0
        with pytest.raises((ConnectionResetError, BrokenPipeError, EOFError)):
            silent.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            if silent.closed():  # it was accepted meanwhile
                raise EOFError


def stopping(server, *args):
    """A server that was told to stop, has given up its port, and waits for its last request; and what ends that."""
    s = server("probe:app", "--graceful-timeout", "600", *args)
    reply = s.background("get", "/wait?file=go")
    s.wait_call("/wait")
    s.signal("TERM")
    wait_until(lambda: not listening(s.port), "nobody listens")

    def finish():
        (s.dir / "go").touch()
        assert reply.result().status == 200
        assert s.wait() == 0

    return s, finish


@ours
def test_port_is_free_while_the_last_request_runs(server):
    s, finish = stopping(server)
    second = server("probe:app", port=s.port)
    assert get_pid(second)
    finish()


@ours
def test_pid_file_is_free_while_the_last_request_runs(server, tmp_path):
    file = tmp_path / "x.pid"
    s, finish = stopping(server, "--pid", file)
    second = server("probe:app", "--pid", file, port=s.port)
    assert get_pid(second) and file.read_text() == f"{second.pid}\n"
    finish()
    assert file.read_text() == f"{second.pid}\n"
    assert second.stop() == 0 and not file.exists()


@ours
def test_pid_file_is_there_until_the_server_has_ended(server, tmp_path):
    file = tmp_path / "x.pid"
    s, finish = stopping(server, "--pid", file)
    assert file.read_text() == f"{s.pid}\n"
    finish()
    assert not file.exists()


@ours
def test_start_waits_for_a_pid_file_whose_owner_is_about_to_stop(server, tmp_path):
    file = tmp_path / "x.pid"
    with open(file, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        s = server("hello:app", "--pid", file, wait=False)
        time.sleep(0.5)
        assert s.process.poll() is None, s.log()
    wait_until(lambda: listening(s.port), "it listens")
    assert s.get("/").status == 200 and file.read_text() == f"{s.pid}\n"


def test_graceful_timeout_ends_the_patience(server):
    s = server("probe:app", "--graceful-timeout", "1")
    reply = s.background("get", "/wait?file=never")
    s.wait_call("/wait")
    assert s.stop() == 0
    assert unanswered(reply)


@pytest.mark.parametrize("name", ["INT", "QUIT"])
def test_quick_stop_does_not_wait_for_requests(server, name):
    s = server("probe:app", "-w", "2", "--graceful-timeout", "600")
    s.tracebacks_expected = True  # of the application that is broken off
    reply = s.background("get", "/wait?file=never")
    s.wait_call("/wait")
    assert s.stop(name) == 0
    assert unanswered(reply)


def test_int_hastens_a_graceful_stop(server):
    s = server("probe:app", "--graceful-timeout", "600")
    s.tracebacks_expected = True  # of the application that is broken off
    reply = s.background("get", "/wait?file=never")
    s.wait_call("/wait")
    s.signal("TERM")
    s.wait_log("Handling signal: term")
    assert s.stop("INT") == 0
    assert unanswered(reply)


def test_idle_stop_latency(server, capsys, certificate):
    taken = []
    for _ in range(3):
        s = server("probe:app", "-w", "3", tls=certificate)
        s.workers(3)
        assert s.get("/").status == 200
        begin = time.monotonic()
        assert s.stop() == 0
        taken.append((time.monotonic() - begin) * 1000)
    with capsys.disabled():
        print(f"\n[idle stop with 3 workers: {', '.join(f'{t:.1f}' for t in taken)} ms]", end="")


# Deaths.


def test_killed_worker_is_replaced(server):
    s = server("probe:app", "-w", "2")
    victim = get_pid(s)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in s.children() and len(s.children()) == 2, "there is a new worker")
    s.wait_log(f"Worker (pid:{victim}) was sent SIGKILL!")
    assert get_pid(s) != victim


def test_worker_that_is_killed_while_it_boots_is_replaced(server):
    s = server("slow_boot:app", "-w", "2")
    victim = s.workers(2)[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in s.children() and len(s.children()) == 2, "there is a new worker")
    (s.dir / "boot").touch()
    assert get_pid(s) != victim


@ours
def test_worker_that_is_gone_before_the_master_looks_has_not_failed_to_boot(server):
    s = server("slow_boot:app")
    (worker,) = s.workers(1)
    s.signal("STOP")
    try:
        (s.dir / "boot").touch()
        assert get_pid(s) == worker
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: ended(worker), "it has ended")
    finally:
        s.signal("CONT")
    assert get_pid(s) != worker
    assert "failed to boot" not in s.log()


@ours
def test_killed_worker_takes_nobody_elses_request_along(server):
    """Each client keeps its connection for a while, so that it is known whose request a failure was."""
    s = server("probe:app", "-w", "3")
    victim = get_pid(s)
    gone = threading.Event()
    lost = []

    def converse(s):
        may_be_the_victims = not gone.is_set()
        with s.connect() as c:
            pid = None
            try:
                for _ in range(50):
                    pid = int(c.get("/pid?sleep=0.002").text)
            except (Broken, ConnectionResetError):
                assert pid == victim or (pid is None and may_be_the_victims), f"worker {pid} lost a request"
                lost.append(pid)

    with Load(s, 12, converse) as load:
        load.wait_replies(24)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in s.children(), "it is gone")
        gone.set()
        s.workers(3)
        load.wait_replies(24)
    assert load.failures == []
    assert len(lost) <= 12


@ours
def test_master_that_is_killed_takes_its_workers_along(server):
    s = server("probe:app", "-w", "3")
    s.status_expected = -signal.SIGKILL
    workers = s.workers(3)
    busy = s.background("get", "/wait?file=never")
    s.wait_call("/wait")
    s.signal("KILL")
    s.wait()
    wait_until(lambda: all(ended(pid) for pid in workers), "the workers are gone")
    assert unanswered(busy)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", s.port))
        sock.listen()


def test_worker_that_hangs_is_replaced(server):
    s = server("probe:app", "-w", "1", "-t", "1")
    s.tracebacks_expected = True
    hung = s.workers(1)[0]
    reply = s.background("get", "/wait?file=never")
    s.wait_log(f"WORKER TIMEOUT (pid:{hung})")
    wait_until(lambda: s.children() and hung not in s.children(), "there is a new worker")
    assert get_pid(s) != hung
    assert unanswered(reply)


@ours
def test_max_requests_replaces_workers_and_loses_nothing(server):
    s = server("probe:app", "-w", "2", "--max-requests", "20")
    with Load(s, 6, get_pid) as load:
        wait_until(lambda: len(set(load.replies)) > 6 or load.failures, "several workers have come and gone")
    assert load.failures == []


# More and fewer.


def test_ttin_and_ttou_change_the_number_of_workers(server):
    s = server("probe:app", "-w", "1")
    s.workers(1)
    s.signal("TTIN")
    s.workers(2)
    s.signal("TTIN")
    s.workers(3)
    s.signal("TTOU")
    s.workers(2)
    s.signal("TTOU")
    s.workers(1)
    s.signal("TTOU")  # one stays
    s.wait_log("Handling signal: ttou")
    assert get_pid(s) == s.workers(1)[0]


@ours
def test_ttou_loses_no_request(server):
    s = server("probe:app", "-w", "4")
    s.workers(4)
    with Load(s, 6, get_pid) as load:
        load.wait_replies(20)
        for n in (3, 2, 1):
            s.signal("TTOU")
            s.workers(n)
            load.wait_replies(20)
    assert load.failures == []


# Reloading.


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def write_release(folder, text):
    (folder / "release.py").write_text(
        "import os\n"
        f"text = {text!r}\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('X-Pid', str(os.getpid()))])\n"
        "    return [text.encode()]\n"
    )


def get_text(server):
    reply = server.get("/", "Connection: close")
    assert reply.status == 200
    return reply.text


def test_hup_loads_changed_code(server, folder):
    write_release(folder, "old")
    s = server("release:app", "-w", "2", folder=folder)
    old = s.workers(2)
    assert get_text(s) == "old"
    write_release(folder, "new release")
    s.signal("HUP")
    wait_until(lambda: len(s.children()) == 2 and not set(old) & set(s.children()), "all workers are new")
    assert get_text(s) == "new release"
    assert s.process.poll() is None


@ours
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])
def test_hup_under_load_fails_no_request(server, folder, preload):
    write_release(folder, "release 0")
    s = server("release:app", "-w", "2", *preload, folder=folder)
    with Load(s, 6, get_text) as load:
        load.wait_replies(20)
        for n in (1, 2):
            new = f"release {n} " + "x" * n  # another size: an old .pyc cannot pass for it
            write_release(folder, new)
            s.signal("HUP")
            # A retiring worker may answer for a while; in the end there are new ones only.
            wait_until(lambda new=new: set(load.replies[-50:]) == {new} or load.failures, "it is served")
    assert load.failures == []


@ours
@pytest.mark.parametrize(
    "text", ["def app(:\n", "raise RuntimeError('no database')\n", "import nothing_of_that_name\n"]
)
def test_hup_with_a_broken_release_keeps_the_old_one(server, folder, text):
    write_release(folder, "old")
    s = server("release:app", "-w", "2", folder=folder)
    s.tracebacks_expected = True
    old = s.ready_workers(2)
    with Load(s, 4, get_text) as load:
        (folder / "release.py").write_text(text)
        s.signal("HUP")
        wait_until(lambda: "Error" in s.log(), "the trial has failed")
        load.wait_replies(50)
    assert load.failures == [] and set(load.replies) == {"old"}
    assert s.workers(2) == old
    write_release(folder, "mended")
    s.signal("HUP")
    wait_until(lambda: get_text(s) == "mended", "the mended release is served")


def test_hup_takes_changed_settings_and_keeps_its_pid(server, folder):
    write_release(folder, "x")
    (folder / "gunicorn.conf.py").write_text("workers = 1\n")
    s = server("release:app", "-p", "server.pid", folder=folder)
    s.workers(1)
    (folder / "gunicorn.conf.py").write_text("workers = 3\n")
    s.signal("HUP")
    wait_until(lambda: len(s.children()) == 3, "there are three workers")
    assert (folder / "server.pid").read_text() == f"{s.pid}\n"
    assert get_text(s) == "x"
    assert s.stop() == 0
    assert not (folder / "server.pid").exists()


def test_hup_takes_a_changed_address(server, folder):
    write_release(folder, "x")
    first, second = free_port(), free_port()
    (folder / "gunicorn.conf.py").write_text(f"bind = ['127.0.0.1:{first}']\n")
    s = server("release:app", port=first, host=None, folder=folder)
    assert get_text(s) == "x"
    (folder / "gunicorn.conf.py").write_text(f"bind = ['127.0.0.1:{second}']\n")
    s.signal("HUP")
    wait_until(lambda: listening(second) and not listening(first), "it has moved")
    s.port = second
    assert get_text(s) == "x"


@ours
def test_hup_during_hup_is_not_lost(server, folder):
    write_release(folder, "release 0")
    s = server("release:app", "-w", "2", folder=folder)
    for n in range(1, 6):
        write_release(folder, f"release {n} " + "x" * n)
        s.signal("HUP")
    wait_until(lambda: get_text(s) == "release 5 xxxxx", "the last release is served")


@ours
def test_term_during_hup_stops(server, folder):
    write_release(folder, "x")
    s = server("release:app", "-w", "2", folder=folder)
    for _ in range(3):
        s.signal("HUP")
    assert s.stop() == 0


@ours
def test_hup_to_the_whole_group_kills_no_request(server):
    # A terminal that hangs up sends it to everyone.
    s = server("probe:app", "-w", "2")
    s.workers(2)
    reply = s.background("get", "/pid?sleep=1")
    s.wait_call("sleep=1")
    os.killpg(s.pid, signal.SIGHUP)
    assert reply.result().status == 200
    wait_until(lambda: get_pid(s), "it serves")


# Logs.


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "deleted"])
def test_usr1_reopens_the_logs(server, moved):
    s = server("probe:app", "-w", "2", "--log-file", "server.log")
    s.workers(2)
    s.get("/?before")
    s.wait_access("before")
    server_log = s.dir / "server.log"
    for log in (s.access_path, server_log):
        log.rename(f"{log}.1") if moved else log.unlink()
    s.signal("USR1")
    wait_until(lambda: server_log.exists() and s.access_path.exists(), "there are new files")

    def all_write_there():
        for _ in range(4):
            s.get("/?after")
        s.get("/errors")
        return "after" in s.access_path.read_text()

    wait_until(all_write_there, "the new access log is written")
    s.signal("TTIN")
    wait_until(lambda: "Handling signal: ttin" in server_log.read_text(), "the new server log is written")
    if moved:
        assert "before" in (s.dir / "access.log.1").read_text()
        assert "before" not in s.access_path.read_text()


SIGNALS = """
import re, signal, subprocess, time

before = signal.getsignal(signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGINT, before)
with open("loading", "w"):
    pass
time.sleep(1)

def app(environ, start_response):
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(re.findall(r"Sig(?:Ign|Blk):\\s*(\\w+)", status)).encode()]
"""


def test_programs_of_the_application_start_with_no_signal_ignored_or_blocked(server, tmp_path):
    (tmp_path / "signals.py").write_text(SIGNALS)
    s = server("signals:app", folder=tmp_path)
    blocked, ignored = (int(mask, 16) for mask in s.get("/").text.split())
    inherited = int(re.search(r"SigIgn:\s*(\w+)", Path("/proc/self/status").read_text())[1], 16)
    assert (blocked, ignored & ~inherited) == (0, 0)
    assert s.stop("INT") == 0


@ours
@pytest.mark.parametrize("name", ("USR1", "HUP", "WINCH"))
def test_signals_for_the_master_do_not_end_a_worker_that_starts(server, tmp_path, name):
    (tmp_path / "signals.py").write_text(SIGNALS)
    s = server("signals:app", folder=tmp_path)
    wait_until((tmp_path / "loading").exists, "the application is being loaded")
    (worker,) = s.children()
    os.kill(worker, getattr(signal, f"SIG{name}"))
    assert s.get("/").status == 200
    assert s.children() == [worker]

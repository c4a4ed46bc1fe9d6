"""Signals: what they do, and the lines of the server log that tell of it."""

import os
import signal

import pytest

from harness import alive, children_of, listening, wait_until
from sides import exists, log_lines, master_lines, must_be_documented, same, same_lines, wait_until_told, worker_lines

READY = "def post_worker_init(worker):\n    worker.log.info('ready')\n"
TWICE = "on_starting, when_ready after HUP"


def ready(server, total, alive=None):
    """The workers, once `total` have become ready since the start and `alive` are left."""
    wait_until(lambda: server.log().count("[INFO] ready") >= total, f"{total} workers have become ready")
    workers = server.workers(alive or total)
    wait_until_told(workers)
    return workers


def started(side, *args):
    return side.server("probe:app", *args, config=READY)


def send(server, name, pid=None):
    os.kill(pid or server.pid, getattr(signal, "SIG" + name))


def said(server, text, count=1):
    wait_until(lambda: server.log().count(text) >= count, f"the log has {text!r}, {count} times")


def heard(server):
    """Until it has obeyed all signals so far; what it does then is what it did for them. USR1 does no harm."""
    n = server.log().count("Handling signal: usr1")
    send(server, "USR1")
    said(server, "Handling signal: usr1", n + 1)


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_stop(both, name):
    def scenario(side):
        s = started(side, "-w", "2", "-p", "x.pid", "-b", "unix:x.sock")
        ready(s, 2)
        there = exists(s.dir / "x.sock"), exists(s.dir / "x.pid")
        status = s.stop(name)
        left = listening(s.port), exists(s.dir / "x.sock"), exists(s.dir / "x.pid")
        return {"status": status, "there": there, "left": left}, master_lines(s), sorted(worker_lines(s))

    seen = both(scenario)
    facts, master, workers = zip(*seen)
    same(facts)
    assert facts[1] == {"status": 0, "there": (True, True), "left": (False, False, False)}
    same_lines(master)
    assert workers[0] == workers[1] and len(workers[1]) == 2


def test_number_of_workers(both):
    def scenario(side):
        s = started(side)
        counts = [len(ready(s, 1))]
        send(s, "TTIN")
        counts.append(len(ready(s, 2)))
        send(s, "TTIN")
        counts.append(len(ready(s, 3)))
        send(s, "TTOU")
        counts.append(len(s.workers(2)))
        send(s, "TTOU")
        counts.append(len(s.workers(1)))
        send(s, "TTOU")
        said(s, "Handling signal: ttou", 3)
        heard(s)
        counts.append(len(s.workers(1)))
        s.stop()
        return counts, master_lines(s)

    counts, lines = zip(*both(scenario))
    assert counts[0] == counts[1] == [1, 2, 3, 2, 1, 1]
    # gunicorn tells a worker again that is just ending, after its Python has put the signals back.
    again = [line for line in lines[0] if "was sent SIGTERM!" in line]
    same_lines(([line for line in lines[0] if line not in again], lines[1]))


def test_reload(both):
    def scenario(side):
        s = started(side, "-w", "2", "-p", "x.pid")
        before = ready(s, 2)
        (s.dir / "x.pid").unlink()
        send(s, "HUP")
        after = ready(s, 4, alive=2)
        facts = {
            "all workers are new": not set(before) & set(after),
            "the master is the same": s.process.poll() is None,
            "the pid file is there again": (s.dir / "x.pid").read_text() == f"{s.pid}\n",
        }
        facts["status"] = s.stop()
        return facts, master_lines(s), sorted(worker_lines(s))

    facts, master, workers = zip(*both(scenario))
    same(facts)
    assert all(v for k, v in facts[1].items() if k != "status")
    listening_again = "INFO Listening at: http://127.0.0.1:PORT (PID)"
    assert master[1].count(listening_again) == 2
    must_be_documented([TWICE])
    assert [line for i, line in enumerate(master[1]) if line != listening_again or i < 3] == master[0]
    assert workers[0] == workers[1] and len(workers[1]) == 4


def test_reload_of_a_release_that_does_not_load(both):
    """The application is named in the log, and one of the two serves on."""

    def scenario(side):
        s = started(side)
        s.status_expected, s.tracebacks_expected = None, True
        ready(s, 1)
        (s.dir / "probe.py").write_text("raise RuntimeError('no database')\n")
        send(s, "HUP")
        said(s, "no database")
        try:
            wait_until(lambda: "Reload refused" in s.log() or s.process.poll() is not None, "it is decided")
            return {"serves": s.process.poll() is None and s.get("/").status == 200}
        finally:
            s.stop()

    same(both(scenario), serves="HUP with a release that does not load")


def test_logs_are_reopened(both):
    def scenario(side):
        s = started(side, "--log-file", "server.log")
        before = ready(s, 1)
        s.get("/")
        wait_until(lambda: s.access(), "the request is logged")
        (s.dir / "server.log").rename(s.dir / "server.log.1")
        s.access_path.rename(s.dir / "access.log.1")
        send(s, "USR1")
        wait_until(lambda: exists(s.dir / "server.log"), "the server log is there again")
        wait_until(lambda: exists(s.access_path), "the access log is there again")
        s.get("/again")
        wait_until(lambda: any("/again" in line for line in s.access()), "the new access log is used")
        facts = {"same workers": s.workers(1) == before, "old": len((s.dir / "access.log.1").read_text().splitlines())}
        s.stop()
        return facts, master_lines(s)

    facts, lines = zip(*both(scenario))
    same(facts)
    assert facts[1] == {"same workers": True, "old": 1}
    assert sorted(lines[0]) == sorted(lines[1])  # the files are read in the order of their names


def test_winch_without_daemon(both):
    def scenario(side):
        s = started(side, "--log-level", "debug")
        before = ready(s, 1)
        send(s, "WINCH")
        said(s, "Handling signal: winch")
        heard(s)
        facts = {"same workers": s.workers(1) == before}
        s.stop()
        return facts, [line for line in master_lines(s) if "winch" in line.lower()]

    facts, lines = zip(*both(scenario))
    same(facts)
    same_lines(lines)
    assert len(lines[1]) == 2


def test_winch_of_a_daemon(both):
    """The workers go, the master and the port stay; HUP brings the workers back."""

    def scenario(side):
        (side.folder / "gunicorn.conf.py").write_text(READY)
        args = ["-D", "-p", "x.pid", "--log-file", "server.log", "-b", "unix:x.sock", "--no-control-socket"]
        assert side.run(*args, "-w", "2", "probe:app").returncode == 0
        log, pid_file = side.folder / "server.log", side.folder / "x.pid"
        wait_until(lambda: exists(log) and log.read_text().count("ready\n") == 2, "both workers are ready")
        pid = int(pid_file.read_text())
        try:
            before = children_of(pid)
            os.kill(pid, signal.SIGWINCH)
            wait_until(lambda: not children_of(pid), "the workers are gone")
            there = exists(side.folder / "x.sock"), exists(pid_file)
            os.kill(pid, signal.SIGHUP)
            wait_until(lambda: log.read_text().count("ready\n") == 4, "there are workers again")
            workers = len(before), len(children_of(pid))
        finally:
            os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not alive(pid), "the master has ended")
        said = "graceful stop of workers\n" in log.read_text()
        return {"socket, pid file": there, "said": said, "workers": workers, "pid file": exists(pid_file)}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi == {"socket, pid file": (True, True), "said": True, "workers": (2, 2), "pid file": False}


WORKER_SIGNALS = {"TERM": True, "INT": True, "QUIT": True, "KILL": True, "USR1": False, "WINCH": False}


@pytest.mark.parametrize("name", WORKER_SIGNALS)
def test_signal_to_a_worker(both, name):
    def scenario(side):
        s = started(side)
        (worker,) = ready(s, 1)
        send(s, name, worker)
        if WORKER_SIGNALS[name]:
            ready(s, 2, alive=1)
        else:
            heard(s)
        facts = {"is replaced": s.workers(1) != [worker]}
        s.stop()
        return facts, master_lines(s), worker_lines(s)

    facts, master, workers = zip(*both(scenario))
    same(facts)
    assert facts[1] == {"is replaced": WORKER_SIGNALS[name]}
    same_lines(master)
    assert workers[0] == workers[1]


def test_hup_to_a_worker(both):
    def scenario(side):
        s = started(side)
        (worker,) = ready(s, 1)
        send(s, "HUP", worker)
        if side.name == "gunicorn":
            ready(s, 2, alive=1)
        heard(s)
        facts = {"is replaced": s.workers(1) != [worker]}
        s.stop()
        return facts

    same(both(scenario), **{"is replaced": "HUP sent to workers"})


def test_worker_that_takes_too_long(both):
    def scenario(side):
        s = started(side, "--timeout", "1")
        (worker,) = ready(s, 1)
        request = s.background("get", "/wait?file=never")
        ready(s, 2, alive=1)
        client = "nothing" if request.exception() else request.result().status
        s.stop()
        lines = list(log_lines(s))
        timeouts = [text for _, text in lines if "TIMEOUT" in text]
        return {"client": client, "timeouts": timeouts, "lines of the worker": [t for pid, t in lines if pid == worker]}

    name = "a request that takes too long"
    seen = both(scenario)
    same(seen, **{"client": name, "lines of the worker": name})
    assert seen.cwsgi["timeouts"] == ["CRITICAL WORKER TIMEOUT (pid:PID)"]


def test_master_that_is_killed(both):
    def scenario(side):
        s = started(side, "-w", "2", "--timeout", "2")
        s.status_expected = None
        workers = ready(s, 2)
        send(s, "KILL")
        wait_until(lambda: not any(map(alive, workers)), "the workers have ended")
        return {"left": listening(s.port)}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi == {"left": False}

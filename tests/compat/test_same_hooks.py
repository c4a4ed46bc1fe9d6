"""Server hooks: the same ones, in the same order, in the same process, with the same in their hands."""

import os
import signal
from collections import defaultdict

import pytest

from harness import wait_until
from sides import must_be_documented, same, wait_until_told

# Every hook notes where it was called, and what its arguments know.
CONFIG = """
import os

def note(name, *facts):
    line = f"{os.getpid()} {' '.join(map(str, (name, *facts)))}\\n"
    with open(os.path.join(FOLDER, "hooks.txt"), "a") as f:
        f.write(line)

FOLDER = os.getcwd()

def on_starting(server):
    note("on_starting", server.cfg.workers, server.num_workers, server.address == server.cfg.address)

def on_reload(server):
    note("on_reload", server.cfg.workers)

def when_ready(server):
    loaded = server.app.callable is not None
    note("when_ready", len(server.LISTENERS), len(server.WORKERS), server.pid == os.getpid(), loaded)

def pre_fork(server, worker):
    note("pre_fork", worker.age, worker.pid, server.pid == os.getpid())

def post_fork(server, worker):
    note("post_fork", worker.age, worker.pid == os.getpid(), server.pid == os.getppid(), worker.ppid == os.getppid())

def post_worker_init(worker):
    note("post_worker_init", worker.age, worker.booted, worker.alive)
    note("application", worker.wsgi.__name__, worker.wsgi is worker.app.callable is worker.app.wsgi())

def worker_int(worker):
    note("worker_int", worker.age)

def worker_abort(worker):
    note("worker_abort", worker.age)

def pre_exec(server):
    note("pre_exec")

def pre_request(worker, req):
    note("pre_request", worker.age, req.method, req.path, req.query, req.uri, req.version, sorted(dict(req.headers)))

def post_request(worker, req, environ, resp):
    note("post_request", worker.age, req.path, environ["PATH_INFO"], resp.status, resp.status_code, resp.sent)

def child_exit(server, worker):
    note("child_exit", worker.age, worker.pid in server.WORKERS)

def worker_exit(server, worker):
    note("worker_exit", worker.age, worker.pid == os.getpid())

def nworkers_changed(server, new_value, old_value):
    note("nworkers_changed", new_value, old_value)

def on_exit(server):
    note("on_exit", len(server.WORKERS))
"""


class Notes:
    def __init__(self, server):
        self.server, self.file = server, server.dir / "hooks.txt"

    def lines(self):
        return [line.split(" ", 1) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def wait(self, name, count):
        wait_until(
            lambda: sum(text.split()[0] == name for _, text in self.lines()) >= count, f"{name} was called {count} times"
        )

    def master(self):
        return [text for pid, text in self.lines() if int(pid) == self.server.pid]

    def workers(self):
        """Of each worker, in the order of their ages."""
        of = defaultdict(list)
        for pid, text in self.lines():
            if int(pid) != self.server.pid:
                of[int(pid)].append(text)
        return sorted(of.values())


@pytest.fixture
def seen(both):
    """seen(do, *args): Both of what was called in the master and in the workers, when `do(server, notes)` is done."""

    def scenario(side, do, args):
        s = side.server("probe:app", *args, config=CONFIG)
        notes = Notes(s)
        do(s, notes)
        wait_until_told(s.workers(1))
        s.stop()
        return {"master": notes.master(), "workers": notes.workers()}

    return lambda do, *args: both(lambda side: scenario(side, do, args))


def test_start_and_stop(seen):
    both = seen(lambda s, notes: notes.wait("post_worker_init", 1))
    same(both)
    assert [line.split()[0] for line in both.cwsgi["master"]] == [
        "nworkers_changed", "on_starting", "when_ready", "pre_fork", "child_exit", "on_exit",
    ]  # fmt: skip
    assert "when_ready 1 0 True False" in both.cwsgi["master"]
    assert "application app True" in both.cwsgi["workers"][0]


def test_preloaded(seen):
    both = seen(lambda s, notes: notes.wait("post_worker_init", 1), "--preload")
    same(both)
    assert "when_ready 1 0 True True" in both.cwsgi["master"]


def test_requests(seen):
    def do(s, notes):
        notes.wait("post_worker_init", 1)
        assert s.get("/hello?a=1", "X-Own: own").status == 200
        assert s.request("POST", "/echo", body=b"12345").status == 200
        notes.wait("post_request", 2)

    same(seen(do))


def test_number_of_workers(seen):
    def do(s, notes):
        notes.wait("post_worker_init", 1)
        s.signal("TTIN")
        notes.wait("post_worker_init", 2)
        wait_until_told(s.workers(2))
        s.signal("USR1")
        s.wait_log("Handling signal: usr1")
        s.signal("TTOU")
        notes.wait("child_exit", 1)

    same(seen(do))


def test_interrupted_worker(seen):
    def do(s, notes):
        notes.wait("post_worker_init", 1)
        (worker,) = s.workers(1)
        wait_until_told([worker])
        os.kill(worker, signal.SIGINT)
        notes.wait("post_worker_init", 2)
        notes.wait("child_exit", 1)

    both = seen(do)
    same(both)
    assert any(line.startswith("worker_int") for line in both.cwsgi["workers"][0])


def test_reload(seen):
    """The new release's interpreter has called its own on_starting and when_ready."""

    def do(s, notes):
        notes.wait("post_worker_init", 1)
        s.signal("HUP")
        notes.wait("post_worker_init", 2)
        notes.wait("child_exit", 1)

    both = seen(do)
    assert both.cwsgi["workers"] == both.gunicorn["workers"]
    theirs, ours = ([line.split()[0] for line in side["master"]] for side in both)
    assert theirs == [
        "nworkers_changed", "on_starting", "when_ready", "pre_fork", "nworkers_changed", "on_reload", "pre_fork",
        "child_exit", "child_exit", "on_exit",
    ]  # fmt: skip
    assert ours == [
        "nworkers_changed", "on_starting", "when_ready", "pre_fork", "on_reload", "nworkers_changed", "on_starting",
        "when_ready", "pre_fork", "child_exit", "child_exit", "on_exit",
    ]  # fmt: skip
    must_be_documented(["on_starting, when_ready after HUP"])


# Every fact that a published hook may ask for, as text.
FACTS = """
import os, sys, time

def note(name, *facts):
    with open(os.path.join(FOLDER, "hooks.txt"), "a") as f:
        f.write(f"{os.getpid()} {' '.join(map(str, (name, *facts)))}\\n")

FOLDER = os.getcwd()

def on_starting(server):
    note("server", server.pidfile, server.systemd)
    server.cfg.set("timeout", 77)
    note("cfg", server.cfg.timeout, server.cfg.settings["timeout"].get())
    try:
        server.cfg.set("nonsense", 1)
    except AttributeError as e:
        note("cfg", e)
    log = server.log
    note("log", log.error_handlers, log.access_handlers, log.logfile, log.reopen_files())
    note("log", log.access_fmt, log.error_fmt, log.datefmt)

def post_fork(server, worker):
    worker.tmp.notify()
    age = time.monotonic() - worker.tmp.last_update()
    note("worker", worker.max_requests == sys.maxsize or worker.max_requests, worker.reloader, -1 < age < 60)

def pre_request(worker, req):
    note("req", req.should_close(), req.must_close, req.req_number, req.trailers, req.cfg is worker.cfg)
    note("proxy", req.proxy_protocol_info and sorted(req.proxy_protocol_info.items()))
    if req.path == "/hello/force":
        req.force_close()
        note("force_close", req.should_close(), req.must_close)

def post_request(worker, req, environ, resp):
    note("resp", resp.req is req, resp.should_close(), resp.chunked, resp.cfg is worker.cfg, type(resp.version))
"""
ASKED = [
    (b"", "1.1", "GET", "/hello"),
    (b"", "1.1", "GET", "/hello", "Connection: close"),
    (b"", "1.0", "GET", "/hello", "Connection: keep-alive"),
    (b"", "1.1", "GET", "/pieces"),
    (b"", "1.0", "GET", "/pieces"),
    (b"", "1.1", "GET", "/status?line=204+No+Content"),
    (b"", "1.1", "GET", "/hello/force"),
    (b"", "1.1", "HEAD", "/hello"),
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 443\r\n", "1.1", "GET", "/hello"),
]


@pytest.mark.parametrize("limit", [[], ["--max-requests", "1000"]])
def test_attributes(both, limit):
    def scenario(side):
        # More than one thread: gunicorn's sync worker always closes.
        s = side.server("probe:app", "--threads", "2", "--proxy-protocol", "auto", *limit, config=FACTS)
        notes = Notes(s)
        wait_until_told(s.workers(1))
        for n, (proxy, version, method, path, *fields) in enumerate(ASKED):
            with s.connect() as c:
                c.send(proxy)
                assert c.request(method, path, fields, version="HTTP/" + version).status in (200, 204)
            notes.wait("resp", n + 1)  # on another thread than the next request's notes
        s.stop()
        return {"master": notes.master(), "workers": notes.workers()}

    seen = both(scenario)
    same(seen)
    assert "force_close True True" in seen.cwsgi["workers"][0]


ONCE = """
def post_request(worker, req, environ, resp):
    if req.path == "/hello":
        worker.alive = False
"""


@pytest.mark.parametrize("threads", ["1", "3"])
def test_worker_that_a_hook_wants_replaced(both, threads):
    def scenario(side):
        s = side.server("probe:app", "--threads", threads, config=ONCE)
        [first] = s.workers(1)
        wait_until_told([first])
        assert s.get("/pid").text == str(first)
        assert s.request("GET", "/hello", ["Connection: close"]).status in (200, 404, 500)
        wait_until(lambda: first not in s.children() and s.get("/pid").text != str(first), "another worker serves")
        return {"errors": s.log().count("[ERROR]")}

    seen = both(scenario)
    same(seen)

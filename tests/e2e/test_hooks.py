"""The configuration file's server hooks: when they are called, where, and with what in their hands."""

import os
import re

import pytest

from harness import IS_GUNICORN, ours, run, wait_until

CONFIG = """
import os

def note(name, *facts):
    with open("hooks.txt", "a") as f:
        print(name, os.getpid(), *facts, file=f)

def on_starting(server):
    server.log.info("hook said %s", "hello")
    note("on_starting")

def when_ready(server):
    note("when_ready", server.num_workers)

def pre_fork(server, worker):
    note("pre_fork", worker.age)

def post_fork(server, worker):
    worker.log.warning("hook in worker %d", worker.pid)
    note("post_fork", worker.pid == os.getpid(), worker.cfg.workers)

def post_worker_init(worker):
    note("post_worker_init", worker.age)

def child_exit(server, worker):
    note("child_exit", worker.pid)

def worker_exit(server, worker):
    note("worker_exit", worker.pid == os.getpid())

def nworkers_changed(server, new, old):
    note("nworkers_changed", new, old)

def on_exit(server):
    note("on_exit")
"""


@pytest.fixture
def hooked(server, folder):
    def start(config, *args):
        (folder / "gunicorn.conf.py").write_text(config)
        s = server("hello:app", *args, folder=folder)
        s.hooks = lambda: [line.split() for line in (folder / "hooks.txt").read_text().splitlines()]
        return s

    return start


def test_hooks_from_start_to_end(hooked):
    s = hooked(CONFIG, "-w", "2")
    wait_until(lambda: [h[0] for h in s.hooks()].count("post_worker_init") == 2, "both workers have booted")
    assert s.get("/").status == 200
    workers = s.workers(2)
    assert s.stop() == 0
    hooks = s.hooks()
    names = [h[0] for h in hooks]
    in_master = [h for h in hooks if h[1] == str(s.pid)]
    in_workers = [h for h in hooks if h[1] != str(s.pid)]
    assert {h[0] for h in in_master} >= {"on_starting", "when_ready", "pre_fork", "child_exit", "on_exit"}
    assert {h[0] for h in in_workers} == {"post_fork", "post_worker_init", "worker_exit"}
    assert {int(h[1]) for h in in_workers} == set(workers)
    assert names[-1] == "on_exit"
    assert names.index("on_starting") < names.index("when_ready") < names.index("pre_fork") < names.index("post_fork")
    assert sorted(h[2] for h in hooks if h[0] == "pre_fork") == ["1", "2"]
    assert [h[2:] for h in hooks if h[0] == "post_fork"] == [["True", "2"]] * 2
    assert sorted(int(h[2]) for h in hooks if h[0] == "child_exit") == workers
    assert "[INFO] hook said hello\n" in s.log()
    assert all(f"[WARNING] hook in worker {pid}\n" in s.log() for pid in workers)


def test_change_of_the_number_of_workers(hooked):
    s = hooked(CONFIG)
    s.workers(1)
    s.signal("TTIN")
    s.workers(2)
    wait_until(lambda: ["nworkers_changed", str(s.pid), "2", "1"] in s.hooks(), "the hook was called")


def test_reload_calls_its_hook(hooked):
    s = hooked("def on_reload(server):\n    open('hooks.txt', 'a').write('on_reload\\n')\n")
    s.workers(1)
    s.signal("HUP")
    wait_until((s.dir / "hooks.txt").exists, "the hook was called")


def test_request_hooks(hooked):
    s = hooked(
        "def pre_request(worker, req):\n    worker.log.info('before %s %s', req.method, req.path)\n"
        "def post_request(worker, req, environ, resp):\n"
        "    worker.log.info('after %s %s %s', req.uri, environ['REQUEST_METHOD'], resp.status)\n"
    )
    assert s.get("/page?a=1").status == 200
    s.wait_log("before GET /page\n")
    s.wait_log("after /page?a=1 GET 200 OK\n")


@ours
def test_hook_that_fails_ends_the_start(hooked, folder, server):
    (folder / "gunicorn.conf.py").write_text("def on_starting(server):\n    raise RuntimeError('no licence')\n")
    s = server("hello:app", folder=folder, wait=False)
    s.status_expected, s.tracebacks_expected = 1, True
    assert s.wait() == 1
    assert "RuntimeError: no licence" in s.log()


def test_configuration_file_may_be_named_and_compute(server, folder):
    (folder / "conf").mkdir()
    (folder / "conf" / "site.py").write_text("import os\nworkers = 1 + 1\nraw_env = ['MINE=' + 'x' * 3]\n_own = os\n")
    s = server("probe:app", "-c", "conf/site.py", folder=folder)
    s.workers(2)
    assert s.get("/variables?names=MINE").text == "xxx"
    assert "MINE" not in os.environ


@pytest.mark.parametrize(
    "hook", ["def pre_request(worker, req):\n    pass\n", "def post_request(worker, req, environ, resp):\n    pass\n"]
)
def test_hooks_around_a_request_stand_in_the_way_of_no_check_and_no_reload(hooked, hook):
    s = hooked(hook)
    assert run("--check-config", "hello:app", cwd=s.dir).returncode == 0
    before = s.ready_workers(1)
    s.signal("HUP")
    wait_until(lambda: (now := s.ready_workers(1)) and now != before, "another worker serves")
    assert s.get("/").status == 200


@pytest.mark.parametrize(
    "hook, fits",
    [
        ("def post_fork(server): pass", False),
        ("def post_fork(server, worker, more): pass", False),
        ("def when_ready(): pass", False),
        ("def post_request(worker): pass", False),
        ("class C:\n  def f(self, server): pass\npost_fork = C().f", False),
        ("def nworkers_changed(server, new, old): pass", True),
        ("class C:\n  def f(self, server, worker): pass\npost_fork = C().f", True),
        pytest.param("def post_fork(*everything): pass", True, marks=ours),
        pytest.param("def post_fork(server, worker, more=1): pass", True, marks=ours),
        ("import functools\npost_fork = functools.partial(lambda a, s, w: None, 1)", True),
        ("when_ready = 'os.getpid'", False),
        ("when_ready = 'os.path.nowhere'", False),
        ("when_ready = 'nowhere'", False),
        ("when_ready = 'textwrap.dedent'", True),
        ("when_ready = 7", False),
    ],
)
def test_hook_that_cannot_be_called_is_told_at_the_start(folder, hook, fits):
    if "partial" in hook and IS_GUNICORN:
        pytest.skip("gunicorn cannot print it")
    if "getpid" in hook and not IS_GUNICORN:
        pytest.skip("what is written in C does not say what it takes")
    (folder / "gunicorn.conf.py").write_text(hook + "\n")
    done = run("--print-config", "hello:app", cwd=folder)
    assert done.returncode == (0 if fits else 1), done.stderr
    assert fits or re.search("post_fork|when_ready|post_request", done.stderr)

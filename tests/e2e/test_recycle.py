"""Workers that are replaced: one at a time, the replacement first, no request lost; and workers that crash."""

import os
import re
import signal
import time

import pytest

from harness import SLOW, Load, free_port, ours, run, wait_until

APP = """
import os
kept = []
def app(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/eat":
        kept.append(b"x" * (int(query) * 1024 * 1024))
    if path == "/crash":
        os.kill(os.getpid(), int(query))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
MIB = 1024 * 1024

pytestmark = ours


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "site").mkdir()
    write(tmp_path / "site", APP)
    return tmp_path / "site"


def write(folder, text):
    (folder / "release.py").write_text(text)


def get_pid(server):
    reply = server.get("/", "Connection: close")
    assert reply.status == 200
    return int(reply.text)


def replacements(s):
    """What the log tells of workers, in order: R and the pid of one that is due, B and that of a new one."""
    found = re.findall(r"Replacing worker \(pid:(\d+)\)|Booting worker with pid: (\d+)", s.log())
    return [("R", int(due)) if due else ("B", int(new)) for due, new in found]


def test_lifetime(server, folder):
    s = server("release:app", "-w", "3", "--worker-lifetime", "1", folder=folder)
    first = s.ready_workers(3)
    with Load(s, 4, get_pid) as load:
        wait_until(lambda: not set(first) & set(s.children()), "all of them were replaced")
    assert load.failures == []
    assert "it has served for 1 s" in s.log()


def test_recycle_at_takes_one_after_another(server, folder):
    at = time.strftime("%H:%M:%S", time.localtime(time.time() + 4 * max(SLOW, 1)))
    s = server("release:app", "-w", "3", "--recycle-at", at, folder=folder)
    first = s.ready_workers(3)
    with Load(s, 4, get_pid) as load:
        wait_until(lambda: not set(first) & set(s.children()), "all of them were replaced")
        s.ready_workers(3)
    assert load.failures == []
    order = replacements(s)
    assert "".join(kind for kind, _ in order) == "BBBRBRBRB", s.log()
    assert {pid for kind, pid in order if kind == "R"} == set(first), "each is replaced once"


@pytest.mark.parametrize("args", [["--max-requests", "10"], ["--worker-lifetime", "1"]])
def test_recycling_on_broken_code_keeps_the_old_worker(server, folder, args):
    s = server("release:app", "-w", "2", *args, folder=folder)
    s.tracebacks_expected = True
    first = s.ready_workers(2)
    write(folder, "def app(:\n" + "#" * len(APP))
    with Load(s, 2, get_pid) as load:
        wait_until(lambda: s.log().count("A new worker failed to boot; trying again in") >= 3, "it is tried again")
        assert set(first) <= set(s.children())
        load.wait_replies(20)
        write(folder, APP)
        wait_until(lambda: not set(first) & set(s.children()), "they are replaced by workers that load")
    assert load.failures == []
    assert "2 of 2 workers serve" in s.log()


def test_killed_worker_on_broken_code_leaves_the_others_serving(server, folder):
    s = server("release:app", "-w", "2", folder=folder)
    s.tracebacks_expected = True
    one, other = s.ready_workers(2)
    write(folder, "def app(:\n" + "#" * len(APP))
    os.kill(one, signal.SIGKILL)
    wait_until(lambda: s.log().count("A new worker failed to boot; trying again in") >= 3, "it is tried again")
    assert {get_pid(s) for _ in range(10)} == {other}
    write(folder, APP)
    s.ready_workers(2)


def test_leak(server, folder):
    s = server("release:app", "-w", "2", "--max-worker-memory", "250M", folder=folder)
    first = s.ready_workers(2)
    fat = int(s.get("/eat?300").text)
    with Load(s, 2, get_pid) as load:
        wait_until(lambda: fat not in s.children(), "it is replaced")
        s.ready_workers(2)
    assert load.failures == []
    assert set(first) - {fat} <= set(s.children()), "the other one stays"
    assert re.search(rf"Replacing worker \(pid:{fat}\): it uses 3\d\d MiB, more than max_worker_memory", s.log())


def test_limit_that_a_fresh_worker_passes(server, folder):
    s = server("release:app", "--max-worker-memory", "1M", folder=folder)
    s.wait_log("the limit is too small for this application; none is replaced for its memory in the next 10 s")
    assert get_pid(s)


def test_hard_limit_ends_a_worker_whatever_it_does(server, folder):
    write(folder, APP.replace("start_response(", "import time; time.sleep(1000 * bool(kept)); start_response(", 1))
    port = free_port()
    s = server("release:app", "-w", "2", "--max-worker-memory-hard", "250M", "--metrics-bind", f"127.0.0.1:{port}", folder=folder)
    s.ready_workers(2)
    with s.connect() as c:
        c.send(b"GET /eat?300 HTTP/1.1\r\nHost: x\r\n\r\n")
        s.wait_log("more than max_worker_memory_hard: it is ended")
        fat = int(re.search(r"Worker \(pid:(\d+)\) uses", s.log())[1])
        wait_until(lambda: fat not in s.children() and len(s.children()) == 2, "it is replaced")
    assert get_pid(s)
    s.port = port
    assert 'cwsgi_workers_ended_total{cause="recycled"} 1\n' in s.get("/metrics").text


def test_budget_takes_the_fattest(server, folder):
    s = server("release:app", "-w", "3", "--memory-budget", "700M", folder=folder)
    workers = s.ready_workers(3)
    while sum(map(resident, workers)) < 750 * MIB:
        s.get("/eat?110", "Connection: close")
    sizes = {pid: resident(pid) for pid in workers}
    s.wait_log("more than memory_budget")
    due = int(re.search(r"Replacing worker \(pid:(\d+)\): it uses \d+ MiB, all processes together", s.log())[1])
    assert sizes[due] > max(sizes.values()) - 50 * MIB  # two may have eaten as often
    wait_until(lambda: due not in s.children() and len(s.children()) == 3, "it is replaced")


def resident(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_workers_that_crash_are_replaced_more_and_more_slowly(server, folder):
    s = server("release:app", "-w", "3", folder=folder)
    s.ready_workers(3)

    def crash():
        with s.connect() as c:
            c.send(b"GET /crash?%d HTTP/1.1\r\nHost: x\r\n\r\n" % signal.SIGALRM)
            c.take_rest()

    def crashes():
        crash()
        return "Workers crash soon after their start; trying again in 0.4 s" in s.log()

    wait_until(crashes, "the third wait has come")
    assert "trying again in 0.1 s" in s.log() and "trying again in 0.2 s" in s.log()
    assert get_pid(s)
    s.ready_workers(3)


@pytest.mark.parametrize(
    "args, says",
    [
        (["--recycle-at", "25:00"], "time of day"),
        (["--recycle-at", ""], "recycle_at"),
        (["--max-worker-memory", "2G", "--max-worker-memory-hard", "1G"], "less than max_worker_memory"),
        (["--memory-budget", "lots"], "number of bytes"),
    ],
)
def test_bad_limits(folder, args, says):
    done = run(*args, "release:app", cwd=folder)
    assert done.returncode == 1 and says in done.stderr

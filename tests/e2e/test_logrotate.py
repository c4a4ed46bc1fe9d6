"""Logs that look after themselves: rotation, compression, the archive command, what is kept, and other programs that
move files. Every request is found exactly once over all files, whatever happens to them."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from harness import environment, ours, run, wait_until
from wire import Broken

pytestmark = ours

STAMP = re.compile(r"\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z(\.gz|\.zst|\.raw)?$")
REQUESTS = int(os.environ.get("CWSGI_TEST_LOG_REQUESTS", "12000"))


def old_files(log):
    log = Path(log)
    return sorted(f for f in log.parent.iterdir() if f.name.startswith(log.name) and STAMP.fullmatch(f.name[len(log.name) :]))


def content(file):
    if file.suffix == ".gz":
        return gzip.decompress(file.read_bytes()).decode()
    if file.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", file], capture_output=True, check=True).stdout.decode()
    return file.read_text()


def contents(log):
    return [content(f) for f in [*old_files(log), Path(log)] if f.exists()]


def all_lines(log):
    """Over all files, oldest first."""
    whole = contents(log)
    assert all(not text or text.endswith("\n") for text in whole)
    return [line for text in whole for line in text.splitlines()]


def lines_so_far(log):
    """The same while it is written: a reader may see a part of a write."""
    try:
        return [line for text in contents(log) for line in text.splitlines()]
    except FileNotFoundError:  # it has got another name
        return []


def settled(log):
    """Once nothing is left to be done."""
    wait_until(lambda: not any(f.suffix in (".raw", ".tmp") for f in Path(log).parent.iterdir()), "old files are finished")


class Flood:
    """Sends numbered requests over some connections, many at once; knows which were answered."""

    def __init__(self, s, n, connections=6, burst=20):
        self.s, self.burst = s, burst
        self.todo = iter(range(n))
        self.answered, self.lock = [], threading.Lock()
        self.conversations = []  # what was answered over each connection, in order
        self.threads = [threading.Thread(target=self.run) for _ in range(connections)]
        for t in self.threads:
            t.start()

    def take(self):
        with self.lock:
            return [i for _, i in zip(range(self.burst), self.todo)]

    def run(self):
        c = None
        while numbers := self.take():
            try:
                if not c:
                    c = self.s.connect()
                    said = []
                    self.conversations.append(said)
                c.send(b"".join(b"GET /n/%d HTTP/1.1\r\nHost: x\r\n\r\n" % i for i in numbers))
                for i in numbers:
                    reply = c.reply()
                    assert reply.status == 200
                    self.answered.append(i)
                    said.append(i)
                    if (reply["Connection"] or "").lower() == "close":
                        raise OSError
            except (OSError, AssertionError, Broken):  # a worker was killed: what was not answered is not expected
                c = None

    def join(self):
        for t in self.threads:
            t.join()
        return self.answered


# Lines of what is answered within 10 ms are written together (settle_log): as many can be lost with a worker.
LOST_WITH_A_WORKER = 500


def lost_with_workers(flood, found):
    """How many of the answered are not in the log. They are the last of their connection: no line is lost between."""
    for said in flood.conversations:
        logged = [i in found for i in said]
        assert logged == sorted(logged, reverse=True), [i for i in said if i not in found]
    return len([i for i in flood.answered if i not in found])


def numbers_in(lines):
    return Counter(int(m[1]) for line in lines if (m := re.search(r'"GET /n/(\d+) HTTP/1\.1" 200', line)))


def test_every_request_is_found_once_over_all_files(server):
    s = server("hello:app", "-w", "3", "--log-rotate-size", "20k", "--log-keep", "0")
    answered = Flood(s, REQUESTS).join()
    assert sorted(answered) == list(range(REQUESTS))
    wait_until(lambda: sum(numbers_in(lines_so_far(s.access_path)).values()) >= REQUESTS, "all lines are there")
    settled(s.access_path)
    found = numbers_in(all_lines(s.access_path))
    assert len(found) == REQUESTS and set(found.values()) == {1}
    old = old_files(s.access_path)
    assert len(old) >= 3 and all(f.suffix == ".gz" for f in old), old
    print(f"{REQUESTS} requests over {len(old) + 1} files")


def test_killed_workers_tear_no_line_and_lose_none_that_was_written(server):
    s = server("hello:app", "-w", "3", "--log-rotate-size", "20k", "--log-keep", "0", "--access-logformat", "json")
    flood = Flood(s, REQUESTS // 2)
    for _ in range(6):
        time.sleep(0.2)
        pids = s.ready_workers(3)
        os.kill(pids[0], signal.SIGKILL)
        wait_until(lambda: pids[0] not in s.children(), "it is gone")
    flood.join()
    s.get("/last")
    wait_until(lambda: any('"/last"' in line for line in lines_so_far(s.access_path)), "the last line is there")
    settled(s.access_path)
    targets = [json.loads(line)["target"] for line in all_lines(s.access_path)]
    found = Counter(int(t.removeprefix("/n/")) for t in targets if t.startswith("/n/"))
    assert set(found.values()) == {1}
    assert lost_with_workers(flood, found) <= 6 * LOST_WITH_A_WORKER


def test_killed_master_leaves_work_that_the_next_one_finishes(server):
    args = ["--log-rotate-size", "20k", "--log-keep", "0"]
    s = server("hello:app", "-w", "2", *args)
    flood = Flood(s, 3000)
    wait_until(lambda: old_files(s.access_path), "it was rotated")
    s.signal("KILL")
    s.status_expected = -signal.SIGKILL
    s.wait()
    flood_until_closed(flood)
    wait_until(lambda: not alive_in_session(s), "its workers are gone")
    leftover = s.access_path.with_name(s.access_path.name + ".2026-01-02T03-04-05.678Z.raw")
    leftover.write_text("from before\n")
    next_one = server("hello:app", *args, folder=s.dir, port=s.port)
    settled(s.access_path)
    assert content(leftover.with_suffix(".gz")) == "from before\n"
    found = numbers_in(all_lines(s.access_path))
    assert set(found.values()) <= {1} and len(found) > 0
    assert lost_with_workers(flood, found) <= 2 * LOST_WITH_A_WORKER
    next_one.stop()


def flood_until_closed(flood):
    flood.todo = iter(())
    return flood.join()


def alive_in_session(s):
    from harness import in_session

    return in_session(s.pid)


@pytest.mark.parametrize("compress", ["none", "gzip", "zstd"])
def test_compression_and_names(server, compress):
    s = server("hello:app", "--log-rotate-size", "2k", "--log-keep", "3", "--log-compress", compress, "--access-logfile", "logs/a.log")
    log = s.dir / "logs" / "a.log"
    names = set()
    for _ in range(6):
        before = len(names)
        while len(names) == before:
            for i in range(10):
                s.get(f"/n/{i}")
            names |= {f.name[:len("a.log.2026-11-25T21-30-05.123Z")] for f in old_files(log)}
    settled(log)
    end = {"none": "", "gzip": ".gz", "zstd": ".zst"}[compress]
    old = wait_until(lambda: (o := old_files(log)) and len(o) == 3 and o, "three are kept")
    assert all(re.fullmatch(rf"a\.log\.\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{{3}}Z{re.escape(end)}", f.name) for f in old), old
    assert [f.stat().st_mtime for f in old] == sorted(f.stat().st_mtime for f in old)
    assert all("GET /n/" in content(f) for f in old)
    assert {f.stat().st_mode & 0o777 for f in old} == {log.stat().st_mode & 0o777}


def test_old_files_beyond_days_and_total_are_removed(server, tmp_path):
    log = tmp_path / "access.log"
    day = 86400
    names = {}
    for age in (1, 5, 29, 31, 400):
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(time.time() - age * day))
        names[age] = tmp_path / f"access.log.{stamp}.000Z.gz"
        names[age].write_bytes(b"x" * 1000)
    strangers = [tmp_path / n for n in ("access.log.1", "access.log.old", "access.log.2020-01-01", "other.log.2020-01-01T00-00-00.000Z.gz")]
    for f in strangers:
        f.write_text("not ours")
    args = ["--access-logfile", log, "--log-rotate-size", "10k", "--log-keep-days", "30", "--log-max-total", "2500"]
    server("hello:app", *args)
    wait_until(lambda: not names[29].exists(), "the total is kept to")
    assert {age for age, f in names.items() if f.exists()} == {1, 5}
    assert all(f.exists() for f in strangers)


def test_archive_command_gets_each_finished_file(server):
    s = server("hello:app", "--log-rotate-size", "2k", "--log-archive-command", "cp -v -t archive\\ of\\ logs", wait=False)
    (s.dir / "archive of logs").mkdir()
    for i in range(200):
        s.get(f"/n/{i}") if i else wait_until(lambda: try_get(s), "it serves")
    wait_until(lambda: list((s.dir / "archive of logs").glob("access.log.*.gz")), "a file was archived")
    settled(s.access_path)
    archived = sorted(f.name for f in (s.dir / "archive of logs").iterdir())
    assert archived == [f.name for f in old_files(s.access_path)]
    assert "GET /n/" in content(s.dir / "archive of logs" / archived[0])


def try_get(s):
    try:
        return s.get("/first").status == 200
    except OSError:
        return False


def test_archive_command_that_fails_is_told_of_and_keeps_the_file(server):
    s = server("hello:app", "--log-rotate-size", "2k", "--log-archive-command", "echo no room >&2; false")
    for i in range(60):
        s.get(f"/n/{i}")
    s.wait_log("The archive command failed for the old log")
    assert "no room" in s.log()
    kinds = {f.suffix for f in old_files(s.access_path)}
    assert kinds >= {".raw", ".gz"}, "what is left to do stands in the names"


def test_two_servers_with_one_file_lose_nothing(server):
    a = server("hello:app", "-w", "2", "--log-rotate-size", "20k", "--log-keep", "0")
    args = ["--access-logfile", str(a.access_path), "--log-rotate-size", "20k", "--log-keep", "0"]
    b = server("hello:app", "-w", "2", *args)
    n = REQUESTS // 2
    floods = Flood(a, n), Flood(b, n)
    for f in floods:
        assert len(f.join()) == n
    wait_until(lambda: sum(numbers_in(lines_so_far(a.access_path)).values()) >= 2 * n, "all lines are there")
    settled(a.access_path)
    found = numbers_in(all_lines(a.access_path))
    assert len(found) == n and set(found.values()) == {2}


def test_server_log_is_rotated_too(server):
    s = server("probe:app", "--log-file", "server.log", "--log-rotate-size", "3k", "--log-keep", "0", "--log-compress", "none", "-w", "2")
    log = s.dir / "server.log"
    for i in range(200):
        s.get(f"/errors?n={i}")
    wait_until(lambda: len(old_files(log)) >= 2, "it was rotated")
    wait_until(lambda: sum("line two" == line for line in lines_so_far(log)) == 200, "every line is there once")


def test_time_of_the_last_line_decides_at_the_start(server, tmp_path):
    """A server that was down at midnight rotates when it comes back."""
    log = tmp_path / "access.log"
    log.write_text("from yesterday\n")
    os.utime(log, (time.time() - 2 * 86400,) * 2)
    s = server("hello:app", "--access-logfile", log, "--log-rotate", "daily", "--log-compress", "none")
    wait_until(lambda: old_files(log), "it was rotated")
    s.get("/today")
    wait_until(lambda: "GET /today" in log.read_text(), "the new file is written")
    assert [content(f) for f in old_files(log)] == ["from yesterday\n"]


def test_log_behind_a_link_is_moved_where_it_is(server):
    s = server("hello:app", "--log-rotate-size", "2k", "--log-compress", "none", "--access-logfile", "access.log", wait=False)
    wait_until(lambda: try_get(s), "it serves")
    s.stop()
    (s.dir / "elsewhere").mkdir()
    s.access_path.rename(s.dir / "elsewhere" / "real.log")
    s.access_path.symlink_to("elsewhere/real.log")
    again = server("hello:app", "--log-rotate-size", "2k", "--log-compress", "none", "--access-logfile", "access.log", folder=s.dir)
    for i in range(100):
        again.get(f"/n/{i}")
    wait_until(lambda: len(old_files(s.dir / "elsewhere" / "real.log")) >= 1, "it was rotated")
    assert s.access_path.is_symlink()
    wait_until(lambda: len(numbers_in(lines_so_far(s.dir / "elsewhere" / "real.log"))) == 100, "all lines are there")


# Other programs.


@pytest.mark.parametrize("how", ["moved", "removed", "replaced", "folder"])
def test_file_that_others_move_is_followed_without_a_signal(server, how):
    s = server("hello:app", "-w", "2", "--access-logfile", "logs/access.log", "--log-file", "logs/server.log")
    log = s.access_path = s.dir / "logs" / "access.log"
    s.get("/before")
    s.wait_access("/before")
    if how == "moved":
        log.rename(s.dir / "old.log")
    elif how == "removed":
        log.unlink()
    elif how == "replaced":
        (s.dir / "new.log").touch()
        (s.dir / "new.log").rename(log)
    else:
        (s.dir / "logs").rename(s.dir / "old")
    time.sleep(1)  # "within a second"
    for i in range(20):
        s.get(f"/after/{i}")
    s.wait_access(r"GET /after/\d+ ", 20)


def test_worker_that_finds_no_log_to_open_serves_all_the_same(server):
    s = server("hello:app", "-w", "2")
    old = s.ready_workers(2)
    s.access_path.rename(s.dir / "access.log.1")
    s.access_path.mkdir()  # for a disk without room for a file
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not set(old) & set(s.children()), "the old ones are gone")
    s.ready_workers(2)
    assert s.get("/lost").status == 200
    s.wait_log(f"Cannot write to the access log {s.access_path}: Is a directory; requests are served on")
    s.access_path.rmdir()
    again = f"The access log {s.access_path} can be written again; "
    # The other worker may have started late enough to find a place for its log: it is not the one to wait for.
    wait_until(lambda: s.get("/again").status == 200 and again in s.log(), "there is a log again")
    s.wait_access("GET /again")


def test_external_logrotate_and_our_workers(server, tmp_path):
    """The usual configuration, without a postrotate script."""
    program = shutil.which("logrotate") or "/usr/sbin/logrotate"
    if not os.access(program, os.X_OK):
        pytest.skip("logrotate is not installed")
    s = server("hello:app", "-w", "2")
    su = " su root root\n" if os.geteuid() == 0 else ""
    (tmp_path / "conf").write_text(f"{s.access_path} {{\n rotate 99\n compress\n delaycompress\n{su}}}\n")
    flood = Flood(s, REQUESTS // 2)
    for i in range(3):
        wait_until(lambda: s.get(f"/between/{i}").status == 200 and s.access_path.exists(), "there is a file again")
        time.sleep(0.3)
        subprocess.run([program, "-f", "-s", tmp_path / "state", tmp_path / "conf"], check=True)
    n = len(flood.join())
    wait_until(lambda: sum(numbers_in(logrotate_lines(s.access_path)).values()) >= n, "all lines are there")
    assert set(numbers_in(logrotate_lines(s.access_path)).values()) == {1}


def logrotate_lines(log):
    files = [f for f in log.parent.glob(log.name + "*")]
    return [line for f in files for line in content(f).splitlines()]


# Mistakes.


def test_compressor_that_is_missing_is_told_at_the_start(tmp_path):
    env = environment(PATH=str(tmp_path))
    done = run("--log-rotate", "daily", "--log-compress", "zstd", "--access-logfile", "a.log", "hello:app", cwd=tmp_path, env=env)
    assert done.returncode == 1
    assert "log_compress is zstd, but there is no program of that name on PATH" in done.stderr


def test_log_that_cannot_be_moved_is_told_of_and_written_on(server):
    if os.geteuid() == 0:
        pytest.skip("root may move everything")
    s = server("hello:app", "--access-logfile", "logs/access.log", "--log-rotate-size", "1k")
    s.access_path = s.dir / "logs" / "access.log"
    (s.dir / "logs").chmod(0o555)
    for i in range(50):
        s.get(f"/n/{i}")
    s.wait_log(f"Can't rotate the log {s.access_path}")
    s.wait_access("GET /n/49")
    (s.dir / "logs").chmod(0o755)

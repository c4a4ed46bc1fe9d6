"""The server log: gunicorn's form, JSON, short and in colours on a terminal; floods; logs that cannot be written."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
import time

import pytest

from harness import BINARY, SLOW, Server, children_of, environment, folder_with_apps, free_port, ours, wait_until

pytestmark = ours

BROKEN = "raise RuntimeError('cannot be loaded')\n"


def test_json_is_an_object_a_line_and_a_traceback_one_record(server):
    s = server("probe:app", "--log-format", "json", "--log-file", "server.log")
    s.tracebacks_expected = True
    s.get("/fails")
    s.get("/errors")
    s.wait_log("line two")
    records = [json.loads(line) for line in (s.dir / "server.log").read_text().splitlines()]
    assert all(set(r) - {"exception"} == {"time", "level", "pid", "message"} for r in records)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d", r["time"]) for r in records)
    assert any(r["level"] == "INFO" and r["message"].startswith("Listening at: ") and r["pid"] == s.pid for r in records)
    (failure,) = [r for r in records if "exception" in r]
    assert failure["level"] == "ERROR" and "Error handling request" in failure["message"]
    assert failure["exception"].startswith("Traceback (most recent call last):\n")
    assert {r["message"] for r in records} >= {"said to wsgi.errors: café", "line one", "line two"}


def test_json_has_no_other_lines_in_it(server):
    """What a release that cannot be loaded prints, and where the Python code of the workers stands."""
    s = server("probe:app", "--log-format", "json", "--log-file", "server.log")
    s.tracebacks_expected = True
    s.ready_workers(1)
    (s.dir / "probe.py").write_text("print('connecting')\n" + BROKEN)
    s.signal("HUP")
    s.wait_log("Reload refused")
    s.signal("URG")
    s.wait_log("most recent call first")
    records = [json.loads(line) for line in (s.dir / "server.log").read_text().splitlines()]
    assert all(set(r) - {"exception"} == {"time", "level", "pid", "message"} for r in records)
    assert "connecting" in [r["message"] for r in records]
    assert [r for r in records if "cannot be loaded" in r.get("exception", "")], "a record of the trial stays one"


def on_terminal(tmp_path, *args, **env):
    """What a server says to a terminal until it serves."""
    main, side = pty.openpty()
    folder = folder_with_apps(tmp_path)
    argv = [BINARY, "-b", f"127.0.0.1:{free_port()}", *args, "hello:app"]
    p = subprocess.Popen(argv, cwd=folder, env=environment(TERM="xterm", **env), stdin=side, stdout=side, stderr=side, start_new_session=True)
    os.close(side)
    said = b""
    end = time.monotonic() + 30 * SLOW
    while b"Booting worker" not in said and time.monotonic() < end:
        if select.select([main], [], [], 0.1)[0]:
            said += os.read(main, 65536)
    p.terminate()
    while True:
        try:
            if not os.read(main, 65536):
                break
        except OSError:
            break
    assert p.wait(30 * SLOW) == 0
    os.close(main)
    return said.decode().replace("\r\n", "\n")


SHORT = r"\d\d:\d\d:\d\d INFO      +\d+ Listening at: "


def test_terminal_gets_a_short_form_in_colours(tmp_path):
    said = on_terminal(tmp_path, NO_COLOR=None)
    assert "\x1b[32mINFO" in said
    assert re.search(SHORT, re.sub(r"\x1b\[[\d;]*m", "", said))


def test_no_color_is_respected(tmp_path):
    said = on_terminal(tmp_path, NO_COLOR="1")
    assert "\x1b" not in said and re.search(SHORT, said)


def test_plain_form_is_kept_on_a_terminal_too(tmp_path):
    said = on_terminal(tmp_path, "--log-format", "plain")
    assert "\x1b" not in said and re.search(r"^\[[-\d]+ [:\d]+ [+-]\d{4}\] \[\d+\] \[INFO\] Listening at: ", said, re.M)


def test_workers_that_die_at_boot_again_and_again_do_not_fill_the_log(server):
    """The application breaks while the server runs: a reload is refused, but workers that end are replaced in vain."""
    s = server("probe:app", "--log-file", "server.log")
    s.tracebacks_expected = True
    (worker,) = s.ready_workers(1)
    (s.dir / "probe.py").write_text(BROKEN)
    os.kill(worker, 9)
    log = s.dir / "server.log"
    wait_until(lambda: log.read_text().count("A new worker failed to boot") >= 5, "it has died some times")
    text = log.read_text()
    assert text.count("RuntimeError: cannot be loaded") <= 5, "equal records are folded"
    waits = [float(w) for w in re.findall(r"trying again in ([\d.]+) s", text)]
    assert waits == sorted(waits) and waits[-1] > 4 * waits[0], waits


# A log that cannot be written.


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount one")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder]).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk_requests_are_served_and_lines_counted(small_disk, server):
    s = server("hello:app", "-w", "2", "--access-logfile", small_disk / "access.log", "--access-logformat", "json")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 40000)
    n = 400
    for i in range(n):
        assert s.get(f"/n/{i}").status == 200
    s.wait_log("Cannot write to the access log")
    assert "No space left on device; requests are served on" in s.log()
    log = small_disk / "access.log"
    ballast.unlink()
    for i in range(40):
        assert s.get(f"/later/{i}").status == 200
    s.stop()
    lines = [line for line in log.read_text().split("\n") if line]
    found = {json.loads(line)["target"] for line in lines}  # none is torn, none glued to another
    lost = sum(int(m) for m in re.findall(r"; (\d+) lines were lost|(?:\] )(\d+) lines of the access log", s.log()) for m in m if m)
    assert len(found) == len(lines) == n + 40 - lost and lost > 0


def test_read_only_disk_holds_nothing_up(small_disk, server):
    s = server("hello:app", "--access-logfile", small_disk / "access.log")
    s.access_path = small_disk / "access.log"
    s.get("/before")
    s.wait_access("/before")
    # As an administrator would: force it, since a writer has the file open.
    if subprocess.run(["mount", "-o", "remount,size=4k", small_disk]).returncode != 0:
        pytest.skip("cannot be made smaller")
    for i in range(100):
        assert s.get(f"/n/{i}").status == 200
    s.wait_log("Cannot write to the access log")


def test_dev_full(server):
    s = server("hello:app", "--access-logfile", "/dev/full")
    for i in range(20):
        assert s.get(f"/n/{i}").status == 200
    s.stop()
    assert s.log().count("Cannot write to the access log /dev/full") == 1
    assert "20 lines of the access log /dev/full were lost" in s.log()


def test_stdout_that_nobody_reads_hangs_no_worker(server, tmp_path):
    """A pipe that blocks, both logs in it, and nobody at the other end for a while."""
    read, write = os.pipe()
    folder = folder_with_apps(tmp_path)
    port = free_port()
    argv = [BINARY, "-b", f"127.0.0.1:{port}", "--access-logfile", "-", "--access-logformat", "json", "--log-level", "debug", "hello:app"]
    p = subprocess.Popen(argv, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=write, stderr=write, start_new_session=True)
    os.close(write)
    s = Client(port, p)
    wait_until(s.serves, "it serves")
    n = 2000
    for i in range(n):
        assert s.get(f"/n/{i}").status == 200
    got = []

    def drain():
        while piece := os.read(read, 65536):
            got.append(piece)

    t = threading.Thread(target=drain)
    t.start()
    for i in range(5):
        assert s.get(f"/later/{i}").status == 200
    wait_until(lambda: b"/later/4" in b"".join(got), "the reader has caught up")
    p.terminate()
    assert p.wait(30 * SLOW) == 0
    t.join()
    os.close(read)
    lines = b"".join(got).decode().splitlines()
    targets = [json.loads(line)["target"] for line in lines if line.startswith("{")]
    assert [t for t in targets if t.startswith("/n/")] == [f"/n/{i}" for i in range(n)], "lines wait for a slow reader"


def test_stderr_that_nobody_reads_does_not_hang_the_master(tmp_path):
    """A pipe that blocks and is full, and a release that has much to say."""
    read, write = os.pipe()
    folder = folder_with_apps(tmp_path)
    port = free_port()
    argv = [BINARY, "-b", f"127.0.0.1:{port}", "hello:app"]
    p = subprocess.Popen(argv, cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stderr=write, start_new_session=True)
    s = Client(port, p)
    wait_until(s.serves, "it serves")
    filler = os.open(f"/proc/self/fd/{write}", os.O_WRONLY | os.O_NONBLOCK)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(filler, b"x")
    (folder / "hello.py").write_text("open('tried', 'w').close()\n" + BROKEN)
    try:
        p.send_signal(signal.SIGHUP)
        wait_until((folder / "tried").exists, "the trial runs")
        wait_until(lambda: len(children_of(p.pid)) == 1, "the trial has ended")
        p.send_signal(signal.SIGTTIN)
        wait_until(lambda: len(children_of(p.pid)) == 2, "the master obeys")
        p.terminate()
        assert p.wait(30 * SLOW) == 0
    finally:
        p.kill()
        for fd in read, write, filler:
            os.close(fd)


class Client(Server):
    """Talks to a server that was started otherwise."""

    def __init__(self, port, process):
        self.port, self.process, self.tls = port, process, None

    def serves(self):
        try:
            return self.get("/first").status == 200
        except OSError:
            return False


def test_reader_of_a_pipe_that_goes_away_ends_nothing(server, tmp_path):
    folder = folder_with_apps(tmp_path)
    port = free_port()
    command = f"exec 3>&1; {BINARY} -b 127.0.0.1:{port} --access-logfile - hello:app 2>err.txt | head -n 3 >three.txt"
    p = subprocess.Popen(["sh", "-c", command], cwd=folder, env=environment(), stdin=subprocess.DEVNULL, start_new_session=True)
    s = Client(port, p)
    wait_until(s.serves, "it serves")
    wait_until(lambda: s.get("/").status == 200 and "Broken pipe" in (folder / "err.txt").read_text(), "it is told of")
    (master,) = [int(m) for m in re.findall(r"Listening at: \S+ \((\d+)\)", (folder / "err.txt").read_text())]
    os.kill(master, 15)
    p.wait(30 * SLOW)
    assert len((folder / "three.txt").read_text().splitlines()) == 3
    assert (folder / "err.txt").read_text().count("Cannot write to the access log") == 1

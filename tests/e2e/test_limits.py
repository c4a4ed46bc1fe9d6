"""What shared hosts are short of: processes, threads, memory, descriptors, inotify, /dev/shm, locks. The server does
with less, and says so."""

import os
import re
import signal

import pytest

from harness import APART, SANITIZED, environment, limited, may_mount, ours, processes, run, wait_until

pytestmark = ours

plain = pytest.mark.skipif(SANITIZED, reason="a sanitizer needs more, and to be loaded first")


def write(folder, name, text=""):
    (folder / name).write_text(text)


def test_no_process_at_the_start(server, folder, shortage):
    write(folder, "no-processes")
    s = server("hello:app", "-w", "2", folder=folder, env=shortage, wait=False)
    s.wait_log("(this account may have no more processes: see ulimit -u); trying again in")
    s.wait_log("0 of 2 workers serve")
    (folder / "no-processes").unlink()
    s.ready_workers(2)
    assert s.get("/").status == 200


def test_fewer_workers_while_there_are_no_more_processes(server, folder, shortage):
    s = server("hello:app", "-w", "3", folder=folder, env=shortage)
    s.ready_workers(3)
    write(folder, "no-processes")
    os.kill(s.children()[0], signal.SIGKILL)
    s.wait_log("2 of 3 workers serve")
    assert s.get("/").status == 200
    s.signal("HUP")
    s.wait_log("Reload refused: can't start the trial: Resource temporarily unavailable")
    assert s.get("/").status == 200
    (folder / "no-processes").unlink()
    s.ready_workers(3)


def test_daemon_is_up_with_the_workers_that_can_be_had(folder, shortage):
    """Its parent does not wait for those that cannot."""
    write(folder, "few-threads", "0")
    done = run("-D", "-b", "127.0.0.1:0", "-p", "pid", "--log-file", "log", "hello:app", cwd=folder, env=shortage)
    assert done.returncode == 0
    pid = int((folder / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: pid not in [p for p, _, _, _ in processes()], "it has ended")


def test_no_thread_beside_the_application(server, folder, shortage):
    write(folder, "few-threads", "0")
    s = server("hello:app", "-w", "2", folder=folder, env=shortage)
    s.ready_workers(2)
    assert s.get("/").status == 200
    assert s.log().count("Cannot start the standby thread: Resource temporarily unavailable (see ulimit -u)") == 2


def test_fewer_threads(server, folder, shortage):
    write(folder, "few-threads", "3")
    s = server("hello:app", "--threads", "8", folder=folder, env=shortage)
    assert s.get("/").status == 200
    assert "Only 3 of 8 threads can be started" in s.log()


def test_no_thread_for_now(server, folder, shortage):
    write(folder, "few-threads", "0")
    s = server("hello:app", "--threads", "8", folder=folder, env=shortage)
    s.wait_log("Cannot start 8 threads: Resource temporarily unavailable")
    s.wait_log("A new worker failed to boot; trying again in")
    (folder / "few-threads").unlink()
    assert s.get("/").status == 200


@plain
def test_little_memory_to_map(server, folder):
    s = server("hello:app", "-w", "2", "--threads", "4", exe=limited(folder, "ulimit -v 100000"), folder=folder)
    s.ready_workers(2)
    assert s.get("/").status == 200


@plain
@pytest.mark.parametrize("files", [6, 8, 10, 12])
def test_start_without_descriptors_says_so(folder, files):
    r = run("-b", "127.0.0.1:0", "hello:app", exe=limited(folder, f"ulimit -n {files}"), cwd=folder)
    assert r.returncode == 1
    assert re.search(r"^Error: \w.*: Too many open files$", r.stderr, re.M)


@plain
def test_few_descriptors(server, folder):
    s = server("probe:app", exe=limited(folder, "ulimit -n 24"), folder=folder)
    assert "A worker may have 24 open files (ulimit -n)" in s.log()
    held = []
    try:
        for _ in range(40):
            held.append(s.connect())
            assert held[-1].get("/").status == 200
        assert s.get("/").status == 200, "the idle ones make room"
    finally:
        for c in held:
            c.close()
    assert s.get("/").status == 200


def test_no_inotify(server, folder, shortage):
    write(folder, "no-inotify")
    write(folder, "shop.py", "def app(e, s):\n    s('200 OK', [])\n    return [b'old']\n")
    s = server("shop:app", "--reload", folder=folder, env=shortage)
    wait_until(lambda: s.get("/").text == "old", "it serves")
    s.wait_log("No inotify can be had here: files are looked at once a second")
    write(folder, "shop.py", "def app(e, s):\n    s('200 OK', [])\n    return [b'changed']\n")
    wait_until(lambda: s.get("/").text == "changed", "the change is seen")


def test_pid_file_where_there_are_no_locks(server, folder, shortage):
    """On some network file systems."""
    write(folder, "no-locks")
    write(folder, "server.pid", "1\n")  # somebody lives there, who is no server of ours
    s = server("hello:app", "-p", "server.pid", folder=folder, env=shortage)
    assert int((folder / "server.pid").read_text()) == s.pid
    done = run("-b", "127.0.0.1:0", "-p", "server.pid", "hello:app", cwd=folder, env=shortage)
    assert done.returncode == 1 and f"Already running on PID {s.pid}" in done.stderr
    assert s.stop() == 0
    assert not (folder / "server.pid").exists()


@may_mount
def test_no_dev_shm(server, folder):
    commands = [
        APART,
        f"mkdir {folder}/dev && cd {folder}/dev",  # a /dev of its own: nothing is taken away
        "for f in null zero full random urandom; do touch $f; mount --bind /dev/$f $f; done",
        f"cd {folder} && mount --rbind dev /dev && test ! -e /dev/shm",
    ]
    s = server("hello:app", "-w", "2", exe=limited(folder, *commands), folder=folder)
    s.ready_workers(2)
    assert s.get("/").status == 200

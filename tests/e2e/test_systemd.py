"""systemd: sockets that it has opened, and what it is told."""

import os
import re
import socket
import subprocess
import sys

import pytest

from harness import APPS, BINARY, BOUND, environment, ours, wait_until

# Becomes the server, with sockets as its descriptors from 3 on, as systemd does it.
LAUNCHER = """
import os, sys
n, *argv = sys.argv[1:]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=n, LISTEN_FDNAMES="web")
os.execv(argv[0], argv)
"""


@pytest.fixture
def notified(folder):
    """A socket where systemd would listen: its messages, each a list of lines."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(folder / "notify"))
        sock.setblocking(False)
        got = []

        def messages():
            while True:
                try:
                    got.append(sock.recv(4096).decode().split("\n"))
                except BlockingIOError:
                    return got

        yield messages


def count(messages, line):
    return sum(line in m for m in messages())


@ours
def test_life_of_a_service_is_told(server, folder, notified):
    env = environment(NOTIFY_SOCKET=str(folder / "notify"))
    s = server("hello:app", "-w", "2", folder=folder, env=env)
    s.ready_workers(2)
    wait_until(lambda: count(notified, "READY=1"), "it is ready")
    assert notified()[0][:2] == ["READY=1", f"MAINPID={s.pid}"]
    s.signal("HUP")
    wait_until(lambda: count(notified, "READY=1") == 2, "it has reloaded")
    assert re.fullmatch(r"MONOTONIC_USEC=\d+", notified()[1][1])
    assert [m[0] for m in notified()] == ["READY=1", "RELOADING=1", "READY=1"]
    s.stop()
    assert notified()[-1][0] == "STOPPING=1"


@ours
def test_reload_that_is_refused_ends_for_systemd_too(server, folder, notified):
    (folder / "shop.py").write_text((folder / "hello.py").read_text())
    s = server("shop:app", folder=folder, env=environment(NOTIFY_SOCKET=str(folder / "notify")))
    s.tracebacks_expected = True
    wait_until(lambda: count(notified, "READY=1") == 1, "it is ready")
    (folder / "shop.py").write_text("def app(\n")
    s.signal("HUP")
    wait_until(lambda: count(notified, "READY=1") == 2, "it serves as before")
    assert count(notified, "RELOADING=1") == 1


@ours
def test_service_that_does_not_come_up_is_never_ready(server, folder, notified):
    (folder / "shop.py").write_text("def app(\n")
    s = server("shop:app", folder=folder, env=environment(NOTIFY_SOCKET=str(folder / "notify")), wait=False)
    s.status_expected, s.tracebacks_expected = 3, True
    assert s.wait() == 3
    assert count(notified, "READY=1") == 0


@ours
def test_watchdog_is_fed(server, folder, notified):
    env = environment(NOTIFY_SOCKET=str(folder / "notify"), WATCHDOG_USEC="200000")
    server("hello:app", folder=folder, env=env)
    wait_until(lambda: count(notified, "WATCHDOG=1") >= 3, "it says that it lives")


@pytest.fixture
def activated(folder):
    """Starts the server with sockets from systemd."""
    started = []

    def start(socks, *args):
        target = [sys.executable, "-c", LAUNCHER, str(len(socks)), BINARY, *args, "probe:app"]

        def place():
            high = [os.dup(s.fileno()) for s in socks]  # out of the way first
            high = [fd if fd > 64 else os.dup2(fd, 100 + fd) for fd in high]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)

        with open(folder / "stderr.txt", "ab") as err:
            process = subprocess.Popen(
                target, cwd=folder, env=environment(), stderr=err, close_fds=False, preexec_fn=place
            )
        started.append(process)
        return process

    yield start
    for p in started:
        p.terminate()
        assert p.wait(BOUND) == 0, (folder / "stderr.txt").read_text()


def ask(address):
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as s:
        s.settimeout(BOUND)
        s.connect(address)
        s.sendall(b"GET /pid HTTP/1.0\r\nHost: x\r\n\r\n")
        return s.makefile("rb").read()


@ours
def test_sockets_of_systemd_are_served(activated, folder):
    (folder / "probe.py").write_text((APPS / "probe.py").read_text())
    tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    unix.bind(str(folder / "web.sock"))
    unix.listen()
    with tcp, unix:
        p = activated([tcp, unix], "-b", "127.0.0.1:1")
        assert b" 200 OK" in ask(tcp.getsockname())
        before = ask(str(folder / "web.sock"))
        assert b" 200 OK" in before
        p.send_signal(1)
        wait_until(lambda: ask(tcp.getsockname()).split()[-1] != before.split()[-1], "new workers serve them")
        assert b" 200 OK" in ask(str(folder / "web.sock"))
        p.terminate()
        assert p.wait(BOUND) == 0
        assert (folder / "web.sock").exists()

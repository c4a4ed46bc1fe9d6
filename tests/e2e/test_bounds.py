"""What a worker holds is bounded: connections, descriptors, and the time that a client may take."""

import os
import re
import resource
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from harness import environment, ours, wait_until
from wire import Broken, encode

pytestmark = ours

HELLO = b"Hello, World!"
PART = b"GET / HTTP/1.1\r\nHost: localhost\r\n"  # of a head: the server waits for more


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_open(c):
    c.sock.setblocking(False)
    try:
        return c.sock.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionResetError:
        return False
    finally:
        c.sock.setblocking(True)


def is_silent(c):
    return not select.select([c.sock], [], [], 0)[0]


def ends_in_fin(c):
    """The kernel has the server's FIN: state CLOSE_WAIT of this socket."""
    return c.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x08"


def served_one(s):
    """The one worker, once it has opened all that it opens."""
    assert s.get("/", "Connection: close").body == HELLO
    (worker,) = s.ready_workers(1)
    return worker


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


# Connections.


def test_connections_beyond_the_bound_wait_until_there_is_room(server):
    s = server("probe:app", "--worker-connections", "3")
    worker = served_one(s)
    before = descriptors(worker)
    busy = [s.connect() for _ in range(3)]
    for c in busy:
        c.send(PART)
    later = [s.connect() for _ in range(5)]
    for c in later:
        c.send(encode("GET", "/", ["Connection: close"]))
    burnt = cpu_seconds(worker)
    time.sleep(1)
    assert cpu_seconds(worker) - burnt < 0.5, "it waits, and does not spin"
    assert descriptors(worker) <= before + 3
    assert len(s.calls()) == 1
    for c in busy:
        c.send(b"Connection: close\r\n\r\n")
    assert [c.reply().body for c in busy + later] == [HELLO] * 8
    for c in busy + later:
        c.close()


def test_idle_connections_make_room(server):
    s = server("probe:app", "--worker-connections", "3", "--keep-alive", "60")
    idle = []
    for _ in range(3):
        idle.append(s.connect())
        assert idle[-1].get("/").body == HELLO
    with s.connect() as c:
        assert c.get("/").body == HELLO
        wait_until(lambda: [is_open(i) for i in idle] == [False, True, True], "the oldest made room")
        for i in idle[1:]:
            assert i.get("/").body == HELLO
    for i in idle:
        i.close()


# Descriptors.


def limit_descriptors(pid, n):
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (n, hard))


@pytest.fixture
def crowded(server):
    """A worker that has no descriptor left for another connection, and how many there were."""
    s = server("hello:app", "--keep-alive", "60")  # which opens nothing itself
    worker = served_one(s)
    highest = max(map(int, os.listdir(f"/proc/{worker}/fd")))
    soft, _ = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    yield s, worker, highest + 4
    limit_descriptors(worker, soft)


def test_without_descriptors_it_neither_spins_nor_ends(crowded):
    s, worker, limit = crowded
    limit_descriptors(worker, limit)
    clients = [s.connect() for _ in range(20)]
    for c in clients:
        c.send(PART)
    s.wait_log("Cannot accept connections at the moment: Too many open files")
    burnt = cpu_seconds(worker)
    time.sleep(2)
    assert cpu_seconds(worker) - burnt < 0.5
    assert s.ready_workers(1) == [worker]
    for c in clients:
        c.send(b"Connection: close\r\n\r\n")
    assert [c.reply().body for c in clients] == [HELLO] * len(clients)
    for c in clients:
        c.close()

# What the kernel says when no process can have another descriptor: nobody can bring that about for one server alone.
ENFILE_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>
int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict len, int flags)
{
    static int (*real)(int, struct sockaddr *restrict, socklen_t *restrict, int);
    if (access("full", F_OK) == 0) {
        errno = ENFILE;
        return -1;
    }
    real = real ? real : (int (*)(int, struct sockaddr *restrict, socklen_t *restrict, int))dlsym(RTLD_NEXT, "accept4");
    return real(fd, address, len, flags);
}
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_system_without_descriptors_is_waited_for(server, tmp_path):
    (tmp_path / "shim.c").write_text(ENFILE_SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, tmp_path / "shim.c", "-ldl"], check=True)
    s = server("hello:app", env=environment(LD_PRELOAD=str(shim), ASAN_OPTIONS="verify_asan_link_order=0"))
    worker = served_one(s)
    (s.dir / "full").touch()
    with s.connect() as c:
        c.send(encode("GET", "/", ["Connection: close"]))
        s.wait_log("Cannot accept connections at the moment: Too many open files in system")
        burnt = cpu_seconds(worker)
        time.sleep(1)
        assert cpu_seconds(worker) - burnt < 0.3
        assert s.ready_workers(1) == [worker]
        (s.dir / "full").unlink()
        assert c.reply().body == HELLO


def test_without_descriptors_idle_connections_make_room(crowded):
    s, worker, limit = crowded
    limit_descriptors(worker, limit)
    clients = []
    for _ in range(20):
        clients.append(s.connect())
        assert clients[-1].get("/").body == HELLO
    assert s.ready_workers(1) == [worker]
    assert "Cannot accept" not in s.log()
    for c in clients:
        c.close()


# Time.


def test_slow_head_is_given_up(server):
    s = server("probe:app", "--header-timeout", "1")
    with s.connect() as c:
        c.send(PART)
        raw = c.take_rest()
    assert raw.startswith(b"HTTP/1.1 408 ") and b"\r\nConnection: close\r\n" in raw
    s.wait_access('" 408 ')
    with s.connect() as silent:
        assert silent.closed(), "nothing was asked, so nothing is answered"
    assert s.calls() == []


def test_drip_of_bytes_does_not_prolong_a_head(server):
    s = server("probe:app", "--header-timeout", "1", "--limit-request-field_size", "0")
    with s.connect() as c:
        c.send(PART + b"X: ")
        while is_silent(c):
            c.send(b"x")
            time.sleep(0.01)
        assert c.take_rest().startswith(b"HTTP/1.1 408 ")


def test_client_below_the_minimum_rates_is_given_up(server):
    s = server("probe:app", "--min-body-rate", "1000000", "--min-send-rate", "1000000")
    with s.connect() as upload, s.connect(rcvbuf=4096) as reader:
        upload.send(encode("POST", "/echo", ["Content-Length: 100000"]) + b"x" * 1000)
        reader.send(encode("GET", "/large?size=50000000&length=1"))
        assert upload.reply().status == 408
        s.wait_access('"GET /large')
        with pytest.raises((Broken, ConnectionResetError)):
            reader.reply()
    assert [c.split()[1:3] for c in s.calls()] == [["GET", "/large?size=50000000&length=1"]]
    assert not re.search("was sent SIGABRT|WORKER TIMEOUT|exited with", s.log())


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_client_far_above_the_minimum_rate_is_served(server, certificate, tls):
    """What the kernel holds for it may take longer than the grace to be read, and nothing more goes in before."""
    s = server("probe:app", "--min-send-rate", "10000", tls=certificate if tls else None)
    with s.connect() as c:
        c.send(encode("GET", "/large?size=50000000&length=1"))
        c.take(15_000_000)
        for _ in range(140):
            c.take(10_000)
            time.sleep(0.1)
        c.take(20_000_000)


def test_slow_clients_do_not_count_as_running_requests(server):
    s = server("probe:app", "--timeout", "1")
    with s.connect() as head, s.connect() as upload, s.connect(rcvbuf=4096) as reader:
        (worker,) = s.ready_workers(1)
        head.send(PART)
        upload.send(encode("POST", "/echo", ["Content-Length: 4"]) + b"s")
        reader.send(encode("GET", "/large?size=50000000&length=1"))
        time.sleep(3)
        assert s.ready_workers(1) == [worker]
        upload.send(b"low")
        head.send(b"\r\n")
        assert upload.reply().body == b"slow"
        assert head.reply().body == HELLO
        assert len(reader.reply().body) == 50000000


def test_slow_handshake_is_given_up(server, certificate):
    s = server("probe:app", "--handshake-timeout", "1", tls=certificate)
    for start in (b"", b"\x16\x03\x01\x02\x00\x01"):
        with socket.create_connection(("127.0.0.1", s.port)) as sock:
            sock.sendall(start)
            assert sock.recv(1) == b""
    assert s.get("/").status == 200


# Memory.


def peak_bytes(pid):
    return int(re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]) * 1024


@pytest.mark.parametrize("threads", [1, 4])
def test_output_for_clients_that_do_not_read_is_bounded(server, threads):
    s = server("probe:app", "--threads", threads, "--min-send-rate", "0")
    worker = served_one(s)
    before = peak_bytes(worker)
    readers = [s.connect(rcvbuf=4096) for _ in range(threads)]
    for c in readers:
        c.send(encode("GET", "/large?size=500000000"))
    heads = [c.head() for c in readers]
    assert [h.status for h in heads] == [200] * threads
    time.sleep(1)
    assert peak_bytes(worker) - before < 40_000_000
    assert len(s.calls()) == 1 + threads
    for c in readers:
        c.close()


def test_requests_ahead_of_the_one_that_is_answered_are_bounded(server):
    """Who pipelines without end while nobody reads is not read from any more."""
    s = server("probe:app")
    worker = served_one(s)
    before = peak_bytes(worker)
    sent = 0
    with s.connect() as c:
        c.send(encode("GET", "/wait?file=go"))
        s.wait_call("/wait")
        c.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            while sent < 100_000_000:
                sent += c.sock.send(encode("GET", "/") * 1000)
        c.sock.setblocking(True)
        assert peak_bytes(worker) - before < 10_000_000
        (s.dir / "go").touch()
        assert c.reply().body == b"waited"
        assert c.reply().body == HELLO


# Closing.


def test_refused_client_that_is_still_sending_reads_why(site):
    with site.connect() as c:
        c.send(encode("POST", "/echo", ["Content-Length: 99999999999"]))
        for _ in range(20):
            c.send(b"x" * 65536)
        raw = c.take_rest()
    assert raw.startswith(b"HTTP/1.1 413 ")


def test_requests_behind_the_last_answer_do_not_reset_it(server):
    s = server("probe:app", "--keep-alive", "0")
    with s.connect() as c:
        c.send(encode("GET", "/large?size=2000000&length=1"))
        reply = c.head()
        assert reply["Connection"] == "close"
        c.send(encode("GET", "/") * 1000)
        assert len(c.take_rest()) == 2000000
    assert len(s.calls()) == 1


def test_answer_that_is_not_read_yet_outlives_the_worker(server):
    """The next request crosses the end of the connection: a plain close would be a reset, which takes the answer along."""
    s = server("probe:app", "--keep-alive", "60")
    with s.connect() as c:
        c.send(encode("GET", "/large?size=20000&length=1"))
        s.wait_access("/large")
        s.signal("TERM")
        wait_until(lambda: not is_silent(c) and ends_in_fin(c), "we are told that it is over")
        c.send(encode("GET", "/late"))
        time.sleep(0.1)
        assert len(c.reply().body) == 20000
        assert c.closed()
    assert s.wait() == 0


def test_idle_connections_do_not_keep_a_worker(server):
    s = server("probe:app", "--keep-alive", "60", "--linger-timeout", "60", "--graceful-timeout", "60")
    idle = [s.connect() for _ in range(3)]
    for c in idle:
        assert c.get("/").body == HELLO
    began = time.monotonic()
    assert s.stop() == 0
    assert time.monotonic() - began < 30, "a second is what they may have"
    for c in idle:
        c.close()


def test_client_that_never_closes_is_left(server):
    s = server("probe:app", "--linger-timeout", "1")
    worker = served_one(s)
    before = descriptors(worker)
    with s.connect() as c:
        c.send(b"FOO\r\n\r\n")
        assert c.take_rest().startswith(b"HTTP/1.1 400 ")
        wait_until(lambda: descriptors(worker) == before, "the descriptor is free again")

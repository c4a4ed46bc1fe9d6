"""Encryption by the kernel. Skipped where it does not offer that: `tools/ktls` runs these tests on one that does."""

import errno
import os
import socket
import ssl
import subprocess
import time

import pytest

from harness import BOUND, ours, wait_until
from wire import Connection, encode

TCP_ULP = 31


def kernel_offers():
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
        except OSError as e:
            return e.errno == errno.ENOTCONN
    return True


pytestmark = [ours, pytest.mark.skipif(not kernel_offers(), reason="this kernel has no kTLS: see tools/ktls")]

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@pytest.fixture(scope="module")
def secure(module_server, certificate):
    # While a slow Linux reads 10 MB, its connection has nothing to do as far as the server knows.
    s = module_server("probe:app", "-w", "1", "--keep-alive", int(BOUND), tls=certificate)
    (s.dir / "big.bin").write_bytes(bytes(range(256)) * (40 * 1024))
    return s


def in_kernel():
    """Connections so far whose sending side the kernel encrypts."""
    with open("/proc/net/tls_stat") as f:
        return int(dict(line.split() for line in f)["TlsTxSw"])


def connect(s, version=None, rcvbuf=None, **options):
    ctx = ssl.create_default_context(cafile=str(s.tls.cert))
    if version:
        ctx.minimum_version = ctx.maximum_version = VERSIONS[version]
    sock = socket.socket()
    sock.settimeout(BOUND)
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.connect(("127.0.0.1", s.port))
    return Connection(ctx.wrap_socket(sock, server_hostname="localhost", **options))


@pytest.mark.parametrize("version", VERSIONS)
def test_kernel_encrypts_what_is_sent(secure, version):
    before = in_kernel()
    with connect(secure, version) as c:
        for _ in range(3):
            assert c.get("/").body == b"Hello, World!"
        assert c.get("/pieces").body == b"one two three"
        assert len(c.get("/large?size=3000000&length=1").body) == 3000000
        assert c.get("/file").body == bytes(range(256)) * (40 * 1024)
        assert c.get("/file?offset=100&length=200").body == (bytes(range(256)) * 2)[100:300]
        body = bytes(range(256)) * 4096
        assert c.request("POST", "/echo", body=body).body == body
    assert in_kernel() == before + 1


def test_file_is_sent_by_sendfile(server, certificate, tmp_path):
    s = server("probe:app", "-w", "1", tls=certificate)
    (s.dir / "big.bin").write_bytes(b"x" * 1000000)
    (pid,) = s.ready_workers(1)
    trace = tmp_path / "trace"
    tracer = subprocess.Popen(["strace", "-qq", "-f", "-e", "trace=sendfile,read", "-o", trace, "-p", str(pid)])
    try:
        wait_until(lambda: "TracerPid:\t0" not in open(f"/proc/{pid}/status").read(), "strace has it")
        assert len(s.get("/file").body) == 1000000
    finally:
        tracer.terminate()
        tracer.wait()
    assert "sendfile(" in trace.read_text()


@pytest.mark.parametrize("version", VERSIONS)
def test_slow_reader_gets_everything_and_a_goodbye(secure, version):
    size = 3000000
    with connect(secure, version, rcvbuf=4096, suppress_ragged_eofs=False) as c:
        c.send(encode("GET", f"/large?size={size}", version="HTTP/1.0"))
        time.sleep(0.2)
        assert len(rest(c)) > size


def rest(c):
    """Until close_notify: raises SSLEOFError when it just breaks off."""
    answer = b""
    while data := c.sock.recv(100000):
        answer += data
    return answer


def test_goodbye_waits_until_there_is_room_for_it(server, certificate, shortage):
    s = server("probe:app", tls=certificate, env=shortage)
    with connect(s, suppress_ragged_eofs=False) as c:
        c.get("/")
        (s.dir / "no-room").write_text("")
        c.send(encode("GET", "/pieces", version="HTTP/1.0"))
        c.sock.settimeout(1)
        with pytest.raises(TimeoutError):
            rest(c)
        c.sock.settimeout(BOUND)
        (s.dir / "no-room").unlink()
        assert rest(c) == b""


def test_client_without_room_for_a_goodbye_is_left(server, certificate, shortage):
    s = server("probe:app", "--linger-timeout", "1", tls=certificate, env=shortage)
    with connect(s, suppress_ragged_eofs=False) as c:
        c.get("/")
        (s.dir / "no-room").write_text("")
        c.send(encode("GET", "/pieces", version="HTTP/1.0"))
        with pytest.raises(ssl.SSLEOFError):
            rest(c)


@pytest.mark.parametrize("command", ["k", "K"])
def test_keys_may_be_renewed(secure, command):
    """K also asks for new keys of ours."""
    client = subprocess.Popen(
        ["openssl", "s_client", "-tls1_3", "-connect", f"127.0.0.1:{secure.port}", "-CAfile", secure.tls.cert],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said = b""

    def says(text, after):
        nonlocal said
        client.stdin.write(after)
        client.stdin.flush()
        while text not in said:
            more = os.read(client.stdout.fileno(), 10000)
            assert more, said
            said += more

    try:
        says(b"CONNECTED", after=b"")
        says(b"Hello, World!", after=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        says(b"KEYUPDATE", after=command.encode() + b"\n")
        says(b"two", after=b"GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n")
    finally:
        client.kill()
        client.communicate()


def test_client_that_comes_without_tls_is_led_to_it(secure):
    before = in_kernel()
    with socket.create_connection(("127.0.0.1", secure.port), timeout=BOUND) as sock:
        assert Connection(sock).get("/", "Host: localhost").status == 308
    assert in_kernel() == before


def test_off_means_that_it_is_not_asked(server, certificate):
    s = server("probe:app", "--ktls", "off", tls=certificate)
    before = in_kernel()
    assert s.get("/").status == 200
    assert in_kernel() == before

"""TLS as clients see it, beyond what every test with a `site` over TLS shows."""

import socket
import ssl
import struct
import subprocess
import warnings

import pytest

from harness import BOUND, ours, wait_until
from wire import Connection, encode


@pytest.fixture(scope="module")
def secure(module_server, certificate):
    return module_server("probe:app", "-w", "1", tls=certificate)


def context(certificate, **settings):
    ctx = ssl.create_default_context(cafile=str(certificate.cert))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for name, value in settings.items():
            setattr(ctx, name, value)
    return ctx


def wrap(s, ctx, **options):
    sock = socket.create_connection(("127.0.0.1", s.port), timeout=BOUND)
    return ctx.wrap_socket(sock, server_hostname="localhost", **options)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_version_is_spoken(secure, certificate, version):
    with wrap(secure, context(certificate, minimum_version=version, maximum_version=version)) as sock:
        assert sock.version() == version.name.replace("_", ".")
        c = Connection(sock)
        assert c.get("/").status == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_version_is_refused(secure, certificate, version):
    ctx = context(certificate, minimum_version=version, maximum_version=version)
    ctx.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        wrap(secure, ctx)
    assert secure.get("/").status == 200


@ours
def test_alpn_chooses_http_1_1(secure, certificate):
    ctx = context(certificate)
    ctx.set_alpn_protocols(["h2", "http/1.1"])
    with wrap(secure, ctx) as sock:
        assert sock.selected_alpn_protocol() == "http/1.1"


@ours
def test_session_is_resumed(secure, certificate):
    ctx = context(certificate, maximum_version=ssl.TLSVersion.TLSv1_2)
    with wrap(secure, ctx) as first:
        Connection(first).get("/")
        session = first.session
    with wrap(secure, ctx, session=session) as second:
        assert second.session_reused
        assert Connection(second).get("/").status == 200


@ours
def test_connection_ends_with_close_notify(secure, certificate):
    """Without it a client cannot tell the end of a close-delimited body from a cut one."""
    with wrap(secure, context(certificate), suppress_ragged_eofs=False) as sock:
        c = Connection(sock)
        c.send(encode("GET", "/pieces", version="HTTP/1.0"))
        answer = b""
        while data := sock.recv(1000):  # raises SSLEOFError when it just breaks off
            answer += data
    assert answer.endswith(b"one two three")


def test_handshake_may_come_byte_by_byte(secure, certificate):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context(certificate).wrap_bio(incoming, outgoing, server_hostname="localhost")

    def through(step):
        """Does a step of TLS, its bytes sent one by one."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                result = None
            for byte in outgoing.read():
                sock.sendall(bytes([byte]))
            if result is not None:
                return result
            incoming.write(sock.recv(1 << 16))

    with socket.create_connection(("127.0.0.1", secure.port), timeout=BOUND) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        through(lambda: tls.do_handshake() or True)
        through(lambda: tls.write(encode("GET", "/")))
        assert through(lambda: tls.read(1000)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_garbage_instead_of_a_handshake_hurts_nobody(secure):
    for garbage in (b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 1000):
        with socket.create_connection(("127.0.0.1", secure.port), timeout=BOUND) as sock:
            sock.sendall(garbage)
    assert secure.get("/").status == 200


@ours
def test_silent_clients_in_the_handshake_block_nobody(secure):
    silent = [socket.create_connection(("127.0.0.1", secure.port), timeout=BOUND) for _ in range(5)]
    for sock in silent[:3]:
        sock.sendall(b"\x16\x03\x01")
    assert secure.get("/").status == 200
    for sock in silent:
        sock.close()


def test_chain_is_sent_whole(server, tmp_path):
    """Root, intermediate and leaf, as a certificate authority makes them; the client knows the root only."""

    def openssl(*args):
        subprocess.run(["openssl", *args], cwd=tmp_path, check=True, capture_output=True)

    def signed(name, issuer, extensions):
        (tmp_path / f"{name}.ext").write_text(extensions)
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "csr")
        by = (
            ["-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key", "-CAcreateserial"]
            if issuer
            else ["-signkey", f"{name}.key"]
        )
        openssl("x509", "-req", "-in", "csr", "-days", "9", "-extfile", f"{name}.ext", "-out", f"{name}.crt", *by)

    signed("root", None, "basicConstraints=critical,CA:TRUE\n")
    signed("middle", "root", "basicConstraints=critical,CA:TRUE\n")
    signed("leaf", "middle", "subjectAltName=DNS:localhost\n")
    (tmp_path / "chain.crt").write_text((tmp_path / "leaf.crt").read_text() + (tmp_path / "middle.crt").read_text())
    s = server("probe:app", "--certfile", tmp_path / "chain.crt", "--keyfile", tmp_path / "leaf.key")
    with wrap(s, ssl.create_default_context(cafile=str(tmp_path / "root.crt"))) as sock:
        assert Connection(sock).get("/").status == 200


# What OpenSSL has to say by itself goes out with what there is to say anyway.


class Handshake:
    """A client of TLS 1.3 that decides which bytes travel together."""

    def __init__(self, server, ctx):
        self.server, self.into, self.out = server, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.into, self.out, server_hostname="localhost")
        self.sock = socket.create_connection(("127.0.0.1", server.port), BOUND)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                self.tls.do_handshake()
                return  # the client's last message is in `out` still
            except ssl.SSLWantReadError:
                self.sock.sendall(self.out.read())
                self.into.write(self.sock.recv(65536))

    def send(self, data):
        """Together with what is in `out`: one segment."""
        self.tls.write(data)
        self.sock.sendall(self.out.read())

    def read(self, until=None):
        """Plaintext up to these bytes; None: to the end."""
        got = b""
        while until is None or until not in got:
            try:
                piece = self.tls.read(65536)
                if not piece:
                    return got
                got += piece
            except ssl.SSLWantReadError:
                data = self.sock.recv(65536)
                self.into.write(data) if data else self.into.write_eof()
        return got

    def segments(self):
        """With data that have come from the server: tcpi_data_segs_in of Linux's struct tcp_info."""
        info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
        return struct.unpack_from("=I", info, 152)[0]


@pytest.fixture
def handshake(server, certificate):
    ctx = context(certificate, minimum_version=ssl.TLSVersion.TLSv1_3)
    s = server("probe:app", "--ktls", "off", tls=certificate)  # what the kernel encrypts, it sends record by record

    def connect():
        h = Handshake(s, ctx)
        assert h.segments() == 1
        return h

    return connect


@ours
def test_tickets_answer_and_end_share_a_packet(handshake):
    h = handshake()
    h.send(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert h.read().endswith(b"Hello, World!")  # and TLS was ended properly
    assert h.segments() == 2
    assert h.tls.session.has_ticket


@ours
def test_tickets_go_with_the_first_answer_of_many(handshake):
    h = handshake()
    for n in (2, 3, 4):
        h.send(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert h.read(b"Hello, World!")
        assert h.segments() == n


@ours
@pytest.mark.parametrize("first", [b"", b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n1"])
def test_tickets_wait_for_no_request_that_is_not_complete(handshake, first):
    h = handshake()
    if first:
        h.send(first)
    else:
        h.sock.sendall(h.out.read())
    wait_until(lambda: h.segments() == 2, "they have come")
    h.send(b"2" if first else b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert h.read(b"12" if first else b"Hello, World!")


@ours
def test_tickets_go_with_an_answer_that_the_server_gives_itself(handshake):
    h = handshake()
    h.send(b"GET /hello HTTP/1.1\r\n\r\n")  # no Host
    assert b" 400 " in h.read()
    assert h.segments() == 2

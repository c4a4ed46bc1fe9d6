"""The PROXY protocol: a front end says who its client is before the client's first byte."""

import socket
import struct

import pytest

from harness import IS_GUNICORN, ours, wait_until
from wire import Connection, encode

LINE = b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 443\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack(">HH", 1111, 443)
BYTES = SIGNATURE + b"\x21\x11\x00\x0c" + ADDRESSES
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
ENVIRON = encode("GET", "/environ", ["Connection: close"])


@pytest.fixture(scope="module")
def behind(module_server):
    return module_server("probe:app", "--proxy-protocol", "auto")


def said(raw):
    """The client as the application sees it."""
    text = raw.decode()
    names = ("REMOTE_ADDR", "REMOTE_PORT", "PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT")
    found = [text.partition(f'"{name}": ["str", "')[2].partition('"')[0] for name in names]
    assert text.startswith("HTTP/1.1 200 "), text
    return found


@pytest.mark.parametrize("header", [LINE, BYTES], ids=["v1", "v2"])
def test_application_and_log_see_the_client(behind, header):
    lines = len(behind.access())
    assert said(behind.send_raw(header + ENVIRON)) == ["192.0.2.1", "1111", "TCP4", "192.0.2.2", "443"]
    wait_until(lambda: any(a.startswith("192.0.2.1 - - ") for a in behind.access()[lines:]), "it is logged")


@pytest.mark.parametrize("header", [LINE, BYTES], ids=["v1", "v2"])
def test_header_may_come_byte_by_byte(behind, header):
    with behind.connect() as c:
        for byte in header + ENVIRON:
            c.send(bytes([byte]))
        assert said(c.take_rest())[0] == "192.0.2.1"


@ours
def test_it_holds_for_all_requests_of_the_connection(behind):
    with behind.connect() as c:
        c.send(LINE)
        for _ in range(3):
            assert '"REMOTE_ADDR": ["str", "192.0.2.1"]' in c.get("/environ").text


def test_client_without_a_header_is_served(behind):
    assert said(behind.send_raw(ENVIRON))[0] == "127.0.0.1"


@ours  # gunicorn knows no UNKNOWN, and calls the client of LOCAL None
@pytest.mark.parametrize("header, name", [(LOCAL, "LOCAL"), (b"PROXY UNKNOWN\r\n", "UNKNOWN")])
def test_front_end_may_speak_for_itself(behind, header, name):
    addr, _, protocol, to, _ = said(behind.send_raw(header + ENVIRON))
    assert (addr, protocol, to) == ("127.0.0.1", name, "")


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1111\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 65536\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1111 443\r\n",
        SIGNATURE + b"\x11\x11\x00\x0c" + ADDRESSES,
        SIGNATURE + b"\x21\x12\x00\x0c" + ADDRESSES,
    ],
)
def test_malformed_header_is_refused(behind, header):
    calls = len(behind.calls())
    raw = behind.send_raw(header + ENVIRON)
    assert raw.startswith(b"HTTP/1.1 400 ") and raw.count(b"HTTP/1.") == 1
    assert len(behind.calls()) == calls


def test_stranger_is_forbidden_to_speak_it(server):
    s = server("probe:app", "--proxy-protocol", "auto", "--proxy-allow-from", "192.0.2.0/24")
    for header in (LINE, BYTES):
        raw = s.send_raw(header + ENVIRON)
        assert raw.startswith(b"HTTP/1.1 403 Forbidden\r\n") and b"\r\nconnection: close" in raw.lower()
        assert s.calls() == []
    if not IS_GUNICORN:
        s.wait_access(r"^127\.0\.0\.1 .* 403 ", 2)
    assert said(s.send_raw(ENVIRON))[0] == "127.0.0.1"


def test_networks_may_speak_it(server):
    s = server("probe:app", "--proxy-protocol", "auto", "--proxy-allow-from", "127.0.0.0/8")
    assert said(s.send_raw(LINE + ENVIRON))[0] == "192.0.2.1"


@pytest.mark.parametrize("mode, taken, refused", [("v1", LINE, BYTES), ("v2", BYTES, LINE)])
def test_one_version_alone(server, mode, taken, refused):
    s = server("probe:app", "--proxy-protocol", mode)
    assert said(s.send_raw(taken + ENVIRON))[0] == "192.0.2.1"
    assert s.send_raw(refused + ENVIRON).startswith(b"HTTP/1.1 400 ")


def test_it_is_not_spoken_unless_asked_for(server):
    s = server("probe:app")
    assert s.send_raw(LINE + ENVIRON).startswith(b"HTTP/1.1 400 ")
    assert s.calls() == []


def test_front_end_is_trusted_for_what_it_is(server):
    """forwarded_allow_ips is asked for who has connected, not for whom it speaks."""
    s = server("probe:app", "--proxy-protocol", "auto", "--forwarded-allow-ips", "127.0.0.1")
    raw = s.send_raw(LINE + encode("GET", "/environ", ["Connection: close", "X-Forwarded-Proto: https"]))
    assert b'"wsgi.url_scheme": ["str", "https"]' in raw
    s = server("probe:app", "--proxy-protocol", "auto", "--forwarded-allow-ips", "192.0.2.1")
    raw = s.send_raw(LINE + encode("GET", "/environ", ["Connection: close", "X-Forwarded-Proto: https"]))
    assert b'"wsgi.url_scheme": ["str", "http"]' in raw


@ours  # gunicorn looks for it inside of TLS, where no front end puts it
def test_header_comes_before_tls(server, certificate):
    s = server("probe:app", "--proxy-protocol", "auto", tls=certificate)
    for header in (LINE, BYTES, b""):
        sock = socket.create_connection(("127.0.0.1", s.port))
        sock.sendall(header)
        with Connection(certificate.client.wrap_socket(sock, server_hostname="localhost")) as c:
            c.send(ENVIRON)
            assert said(c.take_rest())[0] == ("192.0.2.1" if header else "127.0.0.1")


@ours
def test_stranger_before_tls_is_sent_away(server, certificate):
    s = server("probe:app", "--proxy-protocol", "auto", "--proxy-allow-from", "192.0.2.1", tls=certificate)
    with Connection(socket.create_connection(("127.0.0.1", s.port))) as c:
        c.send(LINE)
        assert c.closed()
    assert s.get("/").status == 200


@ours
def test_header_that_does_not_end_is_given_up(server):
    s = server("probe:app", "--proxy-protocol", "auto", "--handshake-timeout", "1")
    for start in (LINE[:-1], BYTES[:-1], b"P"):
        with s.connect() as c:
            c.send(start)
            assert c.closed()
    assert s.get("/").status == 200


def test_on_a_unix_socket_everybody_may_speak_it(server):
    s = server("probe:app", "-b", "unix:x.sock", "--proxy-protocol", "auto", "--proxy-allow-from", "192.0.2.7")
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(s.dir / "x.sock"))
    with Connection(sock) as c:
        c.send(LINE + ENVIRON)
        assert said(c.take_rest())[:2] == ["192.0.2.1", "1111"]

"""Plain HTTP where TLS is spoken, TLS where it is not, both in one server, and the way to https."""

import socket
import ssl

import pytest

from harness import BOUND, environment, free_port, ipv6_or_skip, ours, run
from wire import Connection, encode

pytestmark = ours


@pytest.fixture(scope="module")
def secure(module_server, certificate):
    return module_server("probe:app", tls=certificate)


def plain(port, data, cuts=()):
    """What comes back in the clear until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for a, b in zip((0, *cuts), (*cuts, len(data))):
            sock.sendall(data[a:b])
        c = Connection(sock)
        return c.take_rest()


def location(answer):
    head = answer.partition(b"\r\n\r\n")[0].decode()
    return next(line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("Location: "))


@pytest.mark.parametrize(
    "request_line, host, where",
    [
        ("GET /a/b%20c?x=1&y=%0A HTTP/1.1", "example.org:8080", "https://example.org:8080/a/b%20c?x=1&y=%0A"),
        ("GET / HTTP/1.0", "example.org", "https://example.org/"),
        ("DELETE /x HTTP/1.1", "[::1]:99", "https://[::1]:99/x"),
        ("GET http://other.example/y HTTP/1.1", "example.org", "https://other.example/y"),
    ],
)
@pytest.mark.parametrize("cuts", [(), (1,), (3, 20)], ids=["whole", "after a byte", "in three"])
def test_plain_http_on_the_tls_port_is_led_to_https(secure, request_line, host, where, cuts):
    calls = secure.calls()
    answer = plain(secure.port, f"{request_line}\r\nHost: {host}\r\n\r\n".encode(), cuts)
    assert answer.split(b" ", 2)[1] == b"308"
    assert location(answer) == where
    assert b"\r\nConnection: close\r\n" in answer
    assert b"Strict-Transport-Security" not in answer  # RFC 6797 7.2
    assert secure.calls() == calls
    secure.wait_access(r'" 308 ')


def test_body_of_a_request_in_the_clear_is_not_waited_for(secure):
    head = b"POST /form HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"
    answer = plain(secure.port, head + b"x" * 1000)
    assert answer.startswith(b"HTTP/1.1 308 ") and location(answer) == "https://h/form"


@pytest.mark.parametrize(
    "request_in_the_clear",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nLocation\x01: b\r\n\r\n",
    ],
)
def test_request_in_the_clear_that_leads_nowhere_is_refused(secure, request_in_the_clear):
    answer = plain(secure.port, request_in_the_clear)
    assert answer.split(b" ", 2)[1] == b"400"
    assert b"Location" not in answer.partition(b"\r\n\r\n")[0]
    assert secure.get("/").status == 200


def test_plain_and_tls_in_one_server(server, certificate):
    ipv6_or_skip()
    https = free_port()
    s = server("probe:app", "-b", f"https://127.0.0.1:{https}", "-b", "http://[::1]:0", "--certfile", certificate.cert,
               "--keyfile", certificate.key, host="http://127.0.0.1")  # fmt: skip
    s.wait_log(f"Listening at: http://127.0.0.1:{s.port},https://127.0.0.1:{https},http://[::1]:")
    assert s.get("/").status == 200
    with socket.create_connection(("127.0.0.1", https), timeout=BOUND) as sock:
        with certificate.client.wrap_socket(sock, server_hostname="localhost") as tls:
            assert b"https" in Connection(tls).get("/environ/wsgi.url_scheme").body
    assert b"https" not in s.get("/environ/wsgi.url_scheme").body


def test_https_address_without_a_certificate_is_an_error(tmp_path):
    r = run("-b", "https://127.0.0.1:0", "probe:app", cwd=tmp_path, env=environment())
    assert r.returncode == 1
    assert "bind is https://127.0.0.1:0, but there is no certfile" in r.stderr


def test_redirect_port_leads_to_the_https_port(server, certificate):
    port = free_port()
    s = server("probe:app", "--http-redirect", port, tls=certificate)
    request = b"GET /a?b HTTP/1.1\r\nHost: example.org:80\r\n\r\n"
    assert location(plain(port, request)) == f"https://example.org:{s.port}/a?b"
    s.signal("HUP")
    s.wait_log("Hang up: Master")
    s.ready_workers(1)
    assert location(plain(port, b"GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n")) == f"https://[::1]:{s.port}/"
    assert s.calls() == []
    assert s.get("/").status == 200


def test_redirect_port_without_https_is_an_error(tmp_path):
    r = run("-b", "127.0.0.1:0", "--http-redirect", "0", "--check-config", "probe:app", cwd=tmp_path)
    assert "http_redirect" not in r.stderr
    r = run("-b", "127.0.0.1:0", "--http-redirect", str(free_port()), "probe:app", cwd=tmp_path, env=environment())
    assert r.returncode == 1
    assert "no address speaks https" in r.stderr


def test_browsers_are_told_to_come_by_https(server, certificate):
    plain_port = free_port()
    s = server("probe:app", "-b", f"http://127.0.0.1:{plain_port}", "--hsts", "31536000", tls=certificate)
    assert s.get("/").all("Strict-Transport-Security") == ["max-age=31536000"]
    assert s.request("BREW", "/").status == 501
    assert b"Strict-Transport-Security" not in plain(plain_port, encode("GET", "/", ["Connection: close"]))


def test_application_has_its_own_word_on_https(server, certificate):
    s = server("hsts:app", "--hsts", "60", tls=certificate)
    assert s.get("/").all("Strict-Transport-Security") == ["max-age=5; preload"]


def test_tls_on_a_plain_port_is_refused_and_told(server, certificate):
    s = server("probe:app")
    for _ in range(5):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with socket.create_connection(("127.0.0.1", s.port), timeout=BOUND) as sock:
                certificate.client.wrap_socket(sock, server_hostname="localhost")
    s.wait_log("Clients: TLS came to a plain http address")
    assert "is https:// missing before an address of --bind?" in s.log()
    s.wait_access(r'" 400 ', 5)


def test_failed_handshakes_are_one_line(server, certificate):
    s = server("probe:app", tls=certificate)

    def fails(send):
        with socket.create_connection(("127.0.0.1", s.port), timeout=BOUND) as sock:
            sock.sendall(send)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1000):
                pass

    fails(b"\x16\x03\x01\x00\x05hello")
    s.wait_log("Clients: a TLS handshake failed 1 time; the last one from 127.0.0.1: ")
    for i in range(30):
        fails([b"\0" * 50, b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\x16\x03\x01"][i % 3])
    assert s.get("/").status == 200
    assert s.log().count("a TLS handshake failed") == 1

"""How HTTP/1.1 requests follow each other on a connection."""

import contextlib
import selectors
import time

import pytest

from harness import BOUND, THREADED, ours
from wire import encode

HELLO = b"Hello, World!"


@ours
def test_several_requests_share_a_connection(site):
    with site.connect() as c:
        for _ in range(5):
            reply = c.get("/")
            assert (reply.status, reply.body) == (200, HELLO)
            assert reply["Connection"] != "close"


def test_connection_close_is_obeyed(site):
    with site.connect() as c:
        reply = c.get("/", "Connection: close")
        assert (reply.body, reply["Connection"]) == (HELLO, "close")
        assert c.closed()


@ours
def test_pipelined_requests_are_answered_in_order(site):
    bodies = [b"request %d" % i for i in range(20)]
    with site.connect() as c:
        c.send(b"".join(encode("POST", f"/echo?{i}", body=b if i % 2 else [b]) for i, b in enumerate(bodies)))
        assert [c.reply().body for _ in bodies] == bodies


@ours
def test_pipelined_requests_before_a_bad_one_are_answered(site):
    with site.connect() as c:
        c.send(encode("GET", "/") + encode("GET", "/") + b"FOO\r\n\r\n")
        assert [c.reply().status for _ in range(3)] == [200, 200, 400]
        assert c.closed()


def test_a_request_may_come_byte_by_byte(site):
    with site.connect() as c:
        for byte in encode("POST", "/echo", ["Connection: close"], body=b"slowly"):
            c.send(bytes([byte]))
            time.sleep(0.001)
        assert c.reply().body == b"slowly"


def test_a_chunked_request_may_come_byte_by_byte(site):
    with site.connect() as c:
        for byte in encode("POST", "/echo", ["Connection: close"], body=[b"slow", b"ly"]):
            c.send(bytes([byte]))
            time.sleep(0.001)
        assert c.reply().body == b"slowly"


@ours
def test_empty_lines_before_a_request_are_skipped(site):
    # RFC 9112 2.2: at least one CRLF in front of the request line should be ignored.
    assert site.send_raw(b"\r\n" + encode("GET", "/", ["Connection: close"])).startswith(b"HTTP/1.1 200 ")


def test_http_1_0_closes(site):
    with site.connect() as c:
        reply = c.request("GET", "/", version="HTTP/1.0")
        assert (reply.version, reply.status, reply.body) == ("HTTP/1.0", 200, HELLO)
        assert c.closed()


@ours
def test_http_1_0_keeps_alive_when_asked(site):
    with site.connect() as c:
        for _ in range(3):
            reply = c.request("GET", "/", ["Connection: keep-alive"], version="HTTP/1.0")
            assert (reply.body, reply["Connection"].lower()) == (HELLO, "keep-alive")


def test_http_1_0_needs_no_host(site):
    assert site.send_raw(b"GET / HTTP/1.0\r\n\r\n").endswith(HELLO)


def test_generator_is_close_delimited_on_http_1_0(site):
    with site.connect() as c:
        reply = c.request("GET", "/pieces", version="HTTP/1.0")
        assert reply["Transfer-Encoding"] is None
        assert reply["Content-Length"] in (None, "13")
        assert reply.body == b"one two three"
        assert c.closed()


@ours
def test_idle_connection_is_closed_after_keep_alive(server):
    s = server("probe:app", "--keep-alive", "1")
    with s.connect() as c:
        assert c.get("/").status == 200
        assert c.closed()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT"])
def test_method_reaches_the_application(site, method):
    with site.connect() as c:
        dump = c.request(method, "/environ").text
    assert f'"REQUEST_METHOD": ["str", "{method}"]' in dump


def test_head_has_the_length_but_no_body(site):
    with site.connect() as c:
        reply = c.request("HEAD", "/", ["Connection: close"])
        assert (reply.status, reply["Content-Length"]) == (200, "13")
        assert c.closed()


@ours
def test_connection_lives_on_after_answers_without_body(site):
    with site.connect() as c:
        assert c.request("HEAD", "/").status == 200
        assert c.get("/status?line=204%20No%20Content").status == 204
        assert c.request("HEAD", "/pieces").status == 200
        assert c.get("/status_with_body?line=304%20Not%20Modified").status == 304
        assert c.get("/").body == HELLO


@pytest.mark.parametrize("line", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("page", ["status", "status_with_body"])
def test_no_body_goes_with(site, line, page):
    target = f"/{page}?line={line.replace(' ', '%20')}"
    raw = site.send_raw(encode("GET", target, ["Connection: close"]))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {line}".encode())
    assert body == b""
    assert line[:3] != "204" or b"content-length" not in head.lower()  # RFC 9110 8.6
    assert b"transfer-encoding" not in head.lower()


@ours
def test_silent_client_blocks_nobody(site):
    with site.connect() as silent, site.connect() as slow:
        slow.send(b"GET / HTTP/1.1\r\nHo")
        assert site.get("/").body == HELLO
        slow.send(b"st: x\r\n\r\n")
        assert slow.reply().body == HELLO
        assert silent.get("/").body == HELLO


def test_client_that_leaves_in_its_head_is_forgotten(site):
    before = len(site.calls())
    with site.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
    assert site.get("/").body == HELLO
    assert len(site.calls()) == before + 1


@ours
@pytest.mark.skipif(THREADED, reason="the loop never waits for calls then")
def test_new_clients_do_not_wait_for_a_round_of_all_others_each(server):
    s = server("probe:app", "-w", "1")
    request = encode("GET", "/pid?sleep=0.001")
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:

        def client(kind):
            c = stack.enter_context(s.connect())
            c.send(request)
            selector.register(c.sock, selectors.EVENT_READ, (kind, c))

        def serve_until(condition):
            """How often old clients were answered; each asks again at once."""
            answers = 0
            while not condition():
                for key, _ in selector.select(BOUND):
                    kind, c = key.data
                    assert c.reply().status == 200
                    if kind == "old":
                        answers += 1
                        c.send(request)
                    else:
                        selector.unregister(c.sock)
                        served.append(c)
            return answers

        served = []
        for _ in range(60):
            client("old")
        began = time.monotonic()
        serve_until(lambda: time.monotonic() - began > 0.5)
        for _ in range(30):
            client("new")
        answers = serve_until(lambda: len(served) == 30)
    assert answers < 5 * 60, f"{answers} answers to others before all new clients had one"

"""Applications that take their connection over (environ's "gunicorn.socket"), as libraries for WebSocket do."""

import os
import resource
import threading
import time

import pytest
import websocket

import venvs
from harness import BOUND, environment, ours, wait_until
from wire import encode

pytestmark = ours
UPGRADE = ("Connection: keep-alive, Upgrade", "Upgrade: websocket")
ALL_BUFFERS = 24 * 1024 * 1024  # more than what lies on the way between an application and its client
LIMIT = 1  # --timeout


@pytest.fixture(scope="module", params=[(1, "plain"), (4, "plain"), (1, "tls"), (4, "tls")], ids=lambda p: f"{p[1]}-{p[0]}")
def site(request, module_server, certificate):
    threads, way = request.param
    s = module_server("conversation:app", "--threads", threads, tls=certificate if way == "tls" else None)
    s.tracebacks_expected = True
    s.threads = threads
    return s


def ask(connection, path, *more):
    """Sends the request, and reads no answer."""
    connection.send(encode("GET", path, (*UPGRADE, *more)))
    return connection


def switched(connection, path):
    ask(connection, path)
    assert connection.head().status == 101
    return connection


def count(site, name):
    file = site.dir / name
    return file.read_text().count("\n") if file.exists() else 0


def test_conversation(site):
    with site.connect() as c:
        switched(c, "/upper")
        for text in b"one", b"two", b"x" * 1_000_000:
            c.send(text)
            assert c.take(len(text)) == text.upper()
    [line] = site.wait_access(r'"GET /upper HTTP/1\.1" 101 ')
    assert int(line.split('" 101 ')[1].split()[0]) > 1_000_006
    assert "Error handling request GET /upper" not in site.log()


def test_client_that_leaves_is_an_end_for_the_application(site):
    before = count(site, "ended.txt")
    switched(site.connect(), "/upper").close()
    wait_until(lambda: count(site, "ended.txt") > before, "the application read an end")


def test_what_the_client_sends_too_early_is_not_lost(site):
    go = f"go-{site.threads}"
    with site.connect() as c:
        c.send(encode("GET", f"/late?go={go}", UPGRADE) + b"early ")
        time.sleep(0.1)
        c.send(b"birds")
        (site.dir / go).touch()
        assert c.head().status == 101
        assert c.take(11) == b"EARLY BIRDS"


def test_half_closed_connection(site):
    if site.tls:
        pytest.skip("TLS has no halves in Python")
    with site.connect() as c:
        switched(c, "/upper")
        c.send(b"and out")
        c.sock.shutdown(1)
        assert c.take_rest() == b"AND OUT"


def test_last_words_arrive_and_an_answer_by_wsgi_does_not(site):
    with site.connect() as c:
        ask(c, "/last_words")
        assert c.head().status == 101
        assert c.take_rest() == b"and out"


def test_application_may_answer_by_wsgi(site):
    with site.connect() as c:
        for _ in range(3):
            reply = ask(c, "/refuse").reply()
            assert reply.status == 403 and reply.body == b"not for you"
        assert c.get("/has").body == b"False"


def test_pipelined_behind_an_answer_by_wsgi(site):
    with site.connect() as c:
        c.send(encode("GET", "/refuse", UPGRADE) + encode("GET", "/has"))
        assert c.reply().status == 403
        assert c.reply().body == b"False"


@pytest.mark.parametrize(
    "method, headers, version",
    [
        ("GET", (), "HTTP/1.1"),
        ("GET", ("Upgrade: websocket",), "HTTP/1.1"),
        ("GET", ("Connection: Upgrade", "Upgrade: h2c"), "HTTP/1.1"),
        ("POST", UPGRADE, "HTTP/1.1"),
        ("GET", UPGRADE, "HTTP/1.0"),
    ],
)
def test_there_is_no_socket_for_others(site, method, headers, version):
    assert site.request(method, "/has", headers, version=version).body == b"False"


def test_there_is_one_however_the_wish_is_spelt(site):
    assert site.get("/has", "connection: UPGRADE", "upgrade: foo, WebSocket").body == b"True"


def test_exception_in_a_conversation(site):
    with site.connect() as c:
        assert switched(c, "/fail").take_rest() == b""
    site.wait_log("ValueError: in the middle of a conversation")


def test_conversation_that_does_not_begin_is_an_error(site):
    with site.connect() as c:
        assert ask(c, "/nothing").reply().status == 500


def test_application_hangs_up(site):
    go = f"stay-{site.threads}"
    try:
        with site.connect() as c:
            assert switched(c, f"/hang_up?go={go}").take_rest() == b"bye"
    finally:
        (site.dir / go).touch()
    site.wait_access(r'"GET /hang_up.* 101 ')


def test_nothing_is_left_behind(site):
    worker = site.workers(1)[0]

    def files():
        return len(os.listdir(f"/proc/{worker}/fd"))

    def talk():
        with site.connect() as c:
            switched(c, "/upper").send(b"x")
            assert c.take(1) == b"X"

    talk()
    site.get("/has")
    before = wait_until(files, "there are files")
    for _ in range(30):
        talk()
    wait_until(lambda: files() <= before, f"no more than {before} files are open")


def test_client_that_does_not_read_stops_the_application(server):
    s = server("conversation:app", "--threads", "4")
    pieces = 4 * ALL_BUFFERS // 65536
    with s.connect(rcvbuf=65536) as c:
        switched(c, f"/flood?pieces={pieces}")
        seen = -1
        while seen != count(s, "sent.txt"):
            seen = count(s, "sent.txt")
            time.sleep(0.5)
        assert seen * 65536 < ALL_BUFFERS
        assert len(c.take(pieces * 65536)) == pieces * 65536
        assert c.closed()


def test_application_that_does_not_read_stops_the_client(server):
    s = server("conversation:app", "--threads", "4")
    with s.connect(timeout=1) as c:
        switched(c, "/deaf?go=listen")
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 4 * ALL_BUFFERS:
                sent += c.sock.send(b"x" * 65536)
        (s.dir / "listen").touch()
        c.sock.settimeout(BOUND)
        c.sock.shutdown(1)
        assert int(c.take_rest()) == sent < ALL_BUFFERS


def test_conversations_on_threads_may_take_longer_than_the_time_limit(server):
    s = server("conversation:app", "--threads", "4", "--timeout", LIMIT)
    [worker] = s.ready_workers(1)
    with s.connect() as c:
        switched(c, "/upper")
        time.sleep(3 * LIMIT)
        c.send(b"still here")
        assert c.take(10) == b"STILL HERE"
        assert s.get("/has").status == 200
    assert s.workers(1) == [worker] and "TIMEOUT" not in s.log()


def test_time_limit_until_it_begins(server):
    s = server("conversation:app", "--threads", "4", "--timeout", LIMIT)
    with s.connect() as c:
        assert ask(c, "/late?go=never").reply().status == 504
    s.wait_log("WORKER TIMEOUT")


def test_one_thread_is_replaced_as_for_any_call_that_takes_too_long(server):
    s = server("conversation:app", "--threads", "1", "--timeout", LIMIT)
    with s.connect() as c:
        assert switched(c, "/upper").take_rest() == b""
    s.wait_log("WORKER TIMEOUT")
    wait_until(lambda: s.get("/has").status == 200, "the new worker serves: the old one may have got us just before it")


@pytest.mark.parametrize("threads", [1, 4])
def test_stop_gives_conversations_the_graceful_time(server, threads):
    s = server("conversation:app", "--threads", threads, "--graceful-timeout", 2)
    with s.connect() as c:
        switched(c, "/upper")
        s.signal("TERM")
        s.wait_log("Handling signal: term")
        c.send(b"may i")
        assert c.take(5) == b"MAY I"
        assert c.take_rest() == b""
    assert s.wait() == 0
    s.wait_access(r'"GET /upper HTTP/1\.1" 101 ')


def test_reload_serves_anew_while_a_conversation_goes_on(server):
    s = server("conversation:app", "--threads", "4", "--graceful-timeout", int(BOUND))
    [old] = s.ready_workers(1)
    with s.connect() as c:
        switched(c, "/upper")
        s.signal("HUP")
        wait_until(lambda: any(p != old for p in s.children()) and s.get("/has").status == 200, "the new one serves")
        c.send(b"old friend")
        assert c.take(10) == b"OLD FRIEND"
    wait_until(lambda: old not in s.children(), "the old worker leaves with its last conversation")


def test_without_descriptors_the_request_is_answered(server):
    """The application finds no socket; nothing else happens."""
    s = server("conversation:app", "--threads", "4")
    [worker] = s.ready_workers(1)
    assert s.get("/has").status == 200  # it has opened all that it opens
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{worker}/fd")) + 1,) * 2)
    with s.connect() as c:
        assert ask(c, "/has").reply().body == b"False"
    s.wait_log("The application cannot be given a socket for WebSocket: Too many open files")


WITH_FLASK = """
from flask import Flask
from flask_sock import Sock

app = Flask(__name__)
sock = Sock(app)

@sock.route("/echo")
def echo(ws):
    while True:
        ws.send(ws.receive())

@sock.route("/count")
def count(ws):
    for n in range(int(ws.receive())):
        ws.send(str(n))
"""


@pytest.mark.parametrize("way", ["plain", "tls"])
def test_flask_sock(server, certificate, tmp_path, way):
    """The real libraries, and a real client."""
    venv = venvs.frameworks(venvs.linked_python())
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "talk.py").write_text(WITH_FLASK)
    s = server(
        "talk:app", "--threads", "4", folder=tmp_path / "site", env=environment(VIRTUAL_ENV=str(venv)),
        tls=certificate if way == "tls" else None,
    )  # fmt: skip
    base = s.url("").replace("http", "ws", 1)
    options = {"timeout": BOUND, "sslopt": {"context": certificate.client} if way == "tls" else None}

    def talk(failed):
        try:
            ws = websocket.create_connection(f"{base}/echo", **options)
            for message in "hello", b"bytes", "ä" * 100_000, b"x" * 300_000:
                ws.send(message, websocket.ABNF.OPCODE_TEXT if isinstance(message, str) else websocket.ABNF.OPCODE_BINARY)
                assert ws.recv() == message
            ws.close()
        except BaseException as e:  # noqa: B036
            failed.append(e)
            raise

    failed = []
    threads = [threading.Thread(target=talk, args=[failed]) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    ws = websocket.create_connection(f"{base}/count", **options)
    ws.send("100")
    assert [ws.recv() for _ in range(100)] == [str(n) for n in range(100)]
    assert ws.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE
    ws.shutdown()
    s.wait_access(r'"GET /echo HTTP/1\.1" 101 ', 4)
    assert "ERROR" not in s.log()

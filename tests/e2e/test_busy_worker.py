"""One thread: while the application computes, the worker's network goes on."""

import hashlib
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from harness import THREADED, ours, wait_until
from wire import Broken, encode

pytestmark = [ours, pytest.mark.skipif(THREADED, reason="it is about a worker with one thread")]

LARGE = 64 * 1024 * 1024  # more than all buffers on the way to a client hold


@pytest.fixture(params=["plain", "tls"])
def site(request, server, certificate):
    return server("probe:app", "-w", "1", tls=certificate if request.param == "tls" else None)


class Busy:
    """A call of the application that lasts until the test lets it go."""

    def __init__(self, site, name="go"):
        self.site, self.name = site, name

    def __enter__(self):
        self.reply = self.site.background("get", f"/wait?file={self.name}")
        self.site.wait_call(f"/wait?file={self.name}")
        return self

    def __exit__(self, *_):
        (self.site.dir / self.name).touch()
        assert self.reply.result().body == b"waited"


def test_handshakes_are_made_and_bad_requests_refused(site):
    with Busy(site), site.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        assert c.reply().status == 400


def test_request_that_waited_is_answered_next(site):
    with site.connect() as c:
        with Busy(site):
            c.send(encode("GET", "/"))
        assert c.reply().body == b"Hello, World!"


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


class Together:
    """What is sent inside reaches the worker in one turn of its loop, after calls so short that answers wait for each
    other."""

    def __init__(self, site, *connections):
        for c in connections:
            for _ in range(500):
                assert c.request("GET", "/").status == 200
        (self.worker,) = site.workers(1)

    def __enter__(self):
        wait_until(lambda: state(self.worker) == "S", "it waits for requests")
        os.kill(self.worker, signal.SIGSTOP)
        wait_until(lambda: state(self.worker) == "T", "it is stopped")

    def __exit__(self, *_):
        os.kill(self.worker, signal.SIGCONT)


def test_answer_is_sent_while_the_next_call_lasts(site):
    with site.connect() as first, site.connect() as second:
        with Together(site, first, second):
            first.send(encode("GET", "/"))
            second.send(encode("GET", "/wait?file=next"))
        assert first.reply().body == b"Hello, World!"
        (site.dir / "next").touch()
        assert second.reply().body == b"waited"


def test_what_was_written_reaches_the_client_before_the_call_fails(site):
    site.tracebacks_expected = True
    with site.connect() as first, site.connect() as second, site.connect() as third:
        with Together(site, first, second, third):
            first.send(encode("GET", "/"))
            second.send(encode("GET", "/write_fails"))
            third.send(encode("GET", "/"))
        assert second.head().status == 200
        assert second.chunk() == b"written"
        with pytest.raises(Broken):
            second.chunk()
        assert first.reply().status == third.reply().status == 200


def test_upload_is_received_meanwhile(site):
    body = os.urandom(8 * 1024 * 1024)
    with site.connect() as c:
        with Busy(site):
            c.send(encode("POST", "/digest", body=body))  # would block otherwise
        assert hashlib.sha256(body).hexdigest().encode() in c.reply().body


def test_slow_reader_goes_on_to_get_its_file(site):
    (site.dir / "big.bin").write_bytes(bytes(LARGE))
    with site.connect(rcvbuf=65536) as c:
        c.send(encode("GET", "/file"))
        assert c.head().status == 200
        with Busy(site):
            assert c.take(LARGE) == bytes(LARGE)


def test_client_that_leaves_while_its_call_runs_is_noticed_once(site):
    with Busy(site) as busy:
        with site.connect() as c:
            c.send(encode("GET", "/pid"))
        assert not busy.reply.done()
    assert site.get("/").status == 200


def test_piece_of_a_stream_is_sent_while_the_next_is_made(site):
    with site.connect() as c:
        c.send(encode("GET", "/stream?file=more"))
        c.head()
        assert c.chunk() == b"first\n"
        (site.dir / "more").touch()
        assert c.chunk() == b"second\n"
        assert c.chunk() == b""


def test_pieces_that_were_gathered_are_sent_while_the_next_is_made(site):
    with site.connect() as c:
        c.send(encode("GET", "/quick_then?file=more"))
        c.head()
        expected, said = b"".join(b"%d\n" % i for i in range(10)), b""
        while len(said) < len(expected):
            said += c.chunk()
        assert said == expected
        (site.dir / "more").touch()
        assert c.chunk() == b"last\n"
        assert c.chunk() == b""


def test_loop_may_be_taken_over_at_any_moment_of_an_answer(site):
    with site.connect() as c:
        for seed in range(300):
            n = random.Random(str(seed)).randrange(1, 8)
            assert c.get(f"/jitter?seed={seed}").body == b"".join(b"%d\n" % i for i in range(n))


def test_idle_connection_is_closed_in_its_time(server):
    site = server("probe:app", "-w", "1", "--keep-alive", "1")
    with site.connect() as c:
        assert c.get("/").status == 200
        with Busy(site):
            assert c.closed()


def test_access_line_is_written_meanwhile(site):
    with Busy(site), site.connect() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        assert c.reply().status == 400
        site.wait_access('" 400 ')


def test_new_connections_go_to_the_idle_worker(server):
    site = server("probe:app", "-w", "2")
    site.ready_workers(2)
    with Busy(site):
        pids = {site.get("/pid").body for _ in range(50)}
    assert len(pids) == 1


def test_stop_waits_for_the_call_and_answers_it(site):
    with Busy(site) as busy:
        site.signal("TERM")
        wait_until(lambda: "Handling signal: term" in site.log(), "it is told to stop")
        time.sleep(0.1)
        assert not busy.reply.done()
    assert site.wait() == 0
    assert re.search("Worker exiting", site.log())

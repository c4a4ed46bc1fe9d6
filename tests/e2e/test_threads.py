"""--threads: several calls of the application at once in one worker, and a loop that waits for none of them."""

import hashlib
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import ours, wait_until
from wire import Broken, encode

PIECE = 65536
QUEUES = 64 * 1024 * 1024  # more than all buffers on the way to a client hold


def threaded(server, n=4, *args):
    return server("threaded:app", "-w", "1", "--threads", n, *args)


def value(reply):
    assert reply.status == 200
    return json.loads(reply.body)


def lines(server, file, name):
    path = server.dir / file
    return path.read_text().splitlines().count(name) if path.exists() else 0


def at_once(server, n, path):
    """`n` requests that are all answered, or none is."""
    with ThreadPoolExecutor(n) as pool:
        return [value(r) for r in pool.map(lambda _: server.get(path), range(n))]


@pytest.fixture(scope="module")
def site(module_server):
    return threaded(module_server)


def test_log_tells_of_threads(site):
    site.wait_log("[INFO] Using worker: gthread\n")


def test_requests_of_one_worker_run_at_the_same_time(site):
    met = at_once(site, 4, "/meet?n=4&name=four")
    assert len({m["ident"] for m in met}) == 4
    assert len({m["pid"] for m in met}) == 1


def test_environ_says_multithread(site):
    assert value(site.get("/who"))["multithread"] is True


def test_threads_have_names_and_none_is_the_main_one(site):
    met = at_once(site, 4, "/meet?n=4&name=names")
    assert len({m["name"] for m in met}) == 4
    assert not any(m["main"] for m in met)
    assert not any(m["name"].startswith("Dummy") for m in met)


@ours
def test_names_are_shown_by_the_system_too(site):
    names = {m["name"] for m in at_once(site, 4, "/meet?n=4&name=system")}
    (worker,) = site.children()
    assert names <= {t.joinpath("comm").read_text().strip() for t in Path(f"/proc/{worker}/task").iterdir()}


def test_what_is_local_to_a_thread_lives_from_request_to_request(site):
    before = {m["ident"]: m for m in at_once(site, 4, "/meet?n=4&name=before")}
    after = {m["ident"]: m for m in at_once(site, 4, "/meet?n=4&name=after")}
    assert before.keys() == after.keys()
    for ident, m in after.items():
        assert m["calls"] == before[ident]["calls"] + 1
        assert m["context"] == m["calls"]


LAZY = '''
def app(environ, start_response):
    import threading
    start_response("200 OK", [])
    return [str(threading.current_thread() is threading.main_thread()).encode()]
'''


def test_main_thread_is_none_of_these_even_if_threading_is_imported_late(server, folder):
    (folder / "lazy.py").write_text(LAZY)
    s = server("lazy:app", "--threads", "2", folder=folder)
    assert s.get("/").body == b"False"


def test_more_requests_than_threads_wait_for_one(site):
    go = f"go{site.port}"
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(site.get, f"/wait?file={go}") for _ in range(12)]
        (site.dir / go).touch()
        assert [value(w.result()) for w in waiting] == ["waited"] * 12


@ours
def test_network_goes_on_while_every_thread_is_busy(site):
    """An upload is received and a refusal is sent."""
    with ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(site.get, "/wait?file=all_busy") for _ in range(4)]
        with site.connect() as uploading:
            uploading.send(encode("POST", "/who", body=bytes(1000000)))
            assert site.send_raw(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
            (site.dir / "all_busy").touch()
            assert uploading.reply("POST").status == 200
        assert all(b.result().status == 200 for b in busy)


@pytest.mark.parametrize("page", ["stream", "write"])
def test_output_arrives_whole(site, page):
    n = 200
    body = site.get(f"/{page}?n={n}&name=whole_{page}").body
    assert len(body) == n * PIECE and not body.strip(b"x")


@pytest.mark.parametrize("page", ["stream", "write"])
def test_slow_client_makes_its_thread_wait_and_no_other(site, page):
    name, n = f"slow_{page}", 2 * QUEUES // PIECE
    with site.connect(rcvbuf=4096) as slow:
        slow.send(encode("GET", f"/{page}?n={n}&name={name}"))
        slow.head()
        for _ in range(20):
            assert site.get("/who").status == 200
        at_once(site, 3, f"/meet?n=3&name={name}")
        assert 0 < lines(site, "made.txt", name) < n
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        total = 0
        while data := slow.chunk():
            total += len(data)
        assert total == n * PIECE


def test_client_that_leaves_ends_the_stream_and_closes_it_once(site):
    with site.connect() as c:
        c.send(encode("GET", "/stream?n=100000&name=left"))
        c.head()
        c.chunk()
    wait_until(lambda: lines(site, "closed.txt", "left"), "close() was called")
    assert lines(site, "made.txt", "left") < 100000
    at_once(site, 4, "/meet?n=4&name=after_left")
    assert lines(site, "closed.txt", "left") == 1


def test_client_that_leaves_while_its_thread_waits_frees_it(site):
    for i in range(8):
        with site.connect(rcvbuf=4096) as c:
            c.send(encode("GET", f"/stream?n=100000&name=gone{i}"))
            c.head()
    for i in range(8):
        wait_until(lambda i=i: lines(site, "closed.txt", f"gone{i}") == 1, "close() was called")
    at_once(site, 4, "/meet?n=4&name=after_gone")


@ours
def test_answer_does_not_wait_for_close(site):
    with site.connect() as c:
        c.send(encode("GET", "/slow_to_close?file=may_close") + encode("GET", "/who"))
        assert value(c.reply()) == "said"
        assert lines(site, "closed.txt", "slow_to_close") == 0
        (site.dir / "may_close").touch()
        assert c.reply().status == 200  # one request of a connection after the other
        assert lines(site, "closed.txt", "slow_to_close") == 1


@ours
@pytest.mark.parametrize("threads", [1, 4])
def test_writing_in_close_is_an_error_that_hurts_nobody(server, threads):
    s = threaded(server, threads)
    s.tracebacks_expected = True
    (worker,) = s.children()
    assert s.get("/says_more_in_close").body == b"all"
    s.wait_log("Error handling request GET /says_more_in_close")
    assert value(s.get("/who"))["pid"] == worker


def test_programs_that_a_thread_starts_take_signals(site):
    assert value(site.get("/child")) == -15


@pytest.mark.parametrize("threads", [2, 4, 16])
def test_fifty_uploads_at_once(server, threads):
    s = server("probe:app", "-w", "1", "--threads", threads)
    bodies = [os.urandom(300000 + 1000 * i) for i in range(50)]
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda b: s.request("POST", "/digest", body=b), bodies))
    assert [r.text for r in replies] == [f"{len(b)} {hashlib.sha256(b).hexdigest()}" for b in bodies]


def test_many_requests_over_few_connections(site):
    """Pipelined: each answer is the one of its request."""
    with site.connect() as c:
        for i in range(200):
            c.send(encode("GET", f"/meet?n=1&name=pipe{i}") if i % 2 else encode("GET", "/stream?n=2&name=pipe"))
        for i in range(200):
            assert len(c.reply().body) == 2 * PIECE or i % 2


# Stopping and hanging.


def busy(s, n, path):
    """`n` requests that the application has been called for."""
    pool = ThreadPoolExecutor(n)
    running = [pool.submit(s.get, path) for _ in range(n)]
    pool.shutdown(wait=False)
    wait_until(lambda: lines(s, "waiting.txt", path) == n, "they run")
    return running


def given_up(reply):
    try:
        return reply.result().status in (500, 503, 504)
    except (Broken, ConnectionResetError):
        return True


def test_term_lets_all_running_requests_finish(server):
    s = threaded(server, 3, "--graceful-timeout", "600")
    running = busy(s, 3, "/wait?file=go")
    with s.connect() as queued:
        queued.send(encode("GET", "/who"))
        s.signal("TERM")
        s.wait_log("Handling signal: term")
        (s.dir / "go").touch()
        assert [value(r.result()) for r in running] == ["waited"] * 3
        assert queued.reply().status == 200
    assert s.wait() == 0


def test_graceful_timeout_ends_the_patience_with_calls_that_run(server):
    s = threaded(server, 3, "--graceful-timeout", "1")
    running = busy(s, 2, "/wait?file=never")
    assert s.stop() == 0
    assert all(given_up(r) for r in running)


@ours
@pytest.mark.parametrize("name", ["INT", "QUIT"])
def test_quick_stop_leaves_calls_that_run(server, name):
    s = threaded(server, 3, "--graceful-timeout", "600")
    s.tracebacks_expected = True
    running = busy(s, 2, "/wait?file=never")
    assert s.stop(name) == 0
    assert all(given_up(r) for r in running)


@ours
def test_worker_that_leaves_calls_behind_calls_its_hook(server, folder):
    (folder / "conf.py").write_text("def worker_exit(server, worker):\n    open('left.txt', 'w').close()\n")
    s = threaded(server, 3, "-c", folder / "conf.py", "--graceful-timeout", "600")
    running = busy(s, 1, "/wait?file=never")
    assert s.stop("QUIT") == 0
    assert "Leaving while the application is still computing" in s.log()
    assert (s.dir / "left.txt").exists()
    assert given_up(running[0])


@ours
def test_quick_stop_does_not_wait_for_who_holds_the_interpreter(server):
    s = threaded(server, 2, "--graceful-timeout", "600")
    s.tracebacks_expected = True
    spinning = s.background("get", "/spin")
    s.wait_call("spin")
    assert s.stop("QUIT") == 0
    assert given_up(spinning)


@ours
def test_call_that_hangs_is_seen_beside_others_that_do_not(server):
    s = threaded(server, 3, "-t", "1")
    s.tracebacks_expected = True
    (hung,) = s.children()
    running = busy(s, 1, "/wait?file=never")
    end = f"WORKER TIMEOUT (pid:{hung})"
    while end not in s.log():
        try:
            s.get("/who")
        except (Broken, OSError):
            break
    s.wait_log(end)
    wait_until(lambda: s.children() and hung not in s.children(), "there is a new worker")
    assert value(s.get("/who"))["pid"] != hung
    assert given_up(running[0])


@ours
def test_time_limit_is_for_the_application_and_not_for_a_slow_client(server):
    s = threaded(server, 2, "-t", "1")
    (worker,) = s.children()
    with s.connect(rcvbuf=4096) as slow:
        slow.send(encode("GET", f"/stream?n={2 * QUEUES // PIECE}&name=slow"))
        slow.head()
        end = time.monotonic() + 3  # three times the limit; nothing but time can show it
        while time.monotonic() < end:
            assert value(s.get("/who"))["pid"] == worker
            time.sleep(0.05)
        assert "TIMEOUT" not in s.log()


def test_preloaded_application_runs_on_threads_of_each_worker(server):
    s = server("threaded:app", "-w", "2", "--threads", "3", "--preload")
    s.workers(2)
    with ThreadPoolExecutor(8) as pool:
        pids = {value(r)["pid"] for r in pool.map(lambda _: s.get("/who", "Connection: close"), range(100))}
    assert pids <= set(s.workers(2))


@ours
def test_worker_class_gthread_without_threads_is_one_thread(server):
    s = server("threaded:app", "-k", "gthread", "--threads", "1")
    assert value(s.get("/who"))["multithread"] is False

"""A request that takes too long: what the log says of it, what its client gets, and what becomes of the others."""

import functools
import json
import re
import time

import pytest

from harness import THREADED, Load, alive, ours, wait_until
from wire import Broken, encode

pytestmark = ours
LIMIT = 2
THREADS = [pytest.param(1, marks=pytest.mark.skipif(THREADED, reason="it has threads of its own"), id="inline"), 3]


def start(server, threads, *args, workers=1, **options):
    """One worker whose requests may take LIMIT seconds."""
    s = server("probe:app", "-w", workers, "--threads", threads, "--timeout", LIMIT, *args, **options)
    s.tracebacks_expected = True
    s.threads = threads
    s.ready_workers(workers)
    return s


@pytest.fixture(params=THREADS)
def limited(request, server):
    return functools.partial(start, server, request.param)


@pytest.fixture
def several(server):
    return functools.partial(start, server, 3)


def hang(site, path="/wait?file=never"):
    """A request that its application does not answer."""
    reply = site.background("get", path)
    site.wait_call(path)
    return reply


def last_record(log, text):
    """The lines of the log's last record that begins with `text`."""
    return log[log.rindex(text) :].partition("\n[20")[0]


def test_log_tells_of_it_at_half_of_its_time_and_at_the_end(limited):
    site = limited()
    [worker] = site.workers(1)
    hang(site)
    site.wait_log(f"Worker (pid:{worker}) exited with code 1.")
    for end in "half of its time", "its time":
        told = rf"GET /wait\?file=never from 127\.0\.0\.1 has been running for \d+\.\d s: {end} \(--timeout\) is over\n"
        assert re.search(told, site.log())
    found = re.findall(r"\[(\w+)\] (WORKER TIMEOUT|GET /wait|The Python stacks|Worker .* exited)", site.log())
    assert found == [
        ("WARNING", "GET /wait"),
        ("CRITICAL", "WORKER TIMEOUT"),
        ("ERROR", "GET /wait"),
        ("ERROR", "The Python stacks"),
        ("ERROR", f"Worker (pid:{worker}) exited"),
    ]
    assert f"WORKER TIMEOUT (pid:{worker})\n" in site.log()


def test_it_is_counted_as_an_error_and_is_among_the_slowest(limited):
    site = limited("--status-path", "/facts")
    assert site.background("request", "POST", "/wait?file=never", body=b"12345").result().status == 504
    site.wait_log("exited with code 1.")

    def facts():
        seen = json.loads(site.get("/facts?json").body)
        errors = [minute[1] for minute in seen["minutes"] if minute]
        return sum(errors) == 1 and seen  # the minute that has just begun may be unknown for a moment

    seen = wait_until(facts, "the chart shows one error")
    [slow] = seen["slowest"]
    assert slow["target"] == "/wait?file=never" and slow["status"] == 504
    assert (seen["errors"], seen["refused"], seen["statuses"][4]) == (1, 0, 1)


def test_stack_of_its_thread_comes_first_with_names_and_lines(limited):
    site = limited()
    assert hang(site).result().status == 504
    site.wait_log("The Python stacks of worker")
    name = " cwsgi-\\d" if site.threads > 1 else "( MainThread)?"  # it has none before `threading` is imported
    stacks = last_record(site.log(), "The Python stacks of worker")
    pattern = rf"Thread 0x\w+{name}, which runs that request \(most recent call last\):\n(  .*\n)*  File .* in wait_for\n"
    line = r"    (time\.sleep\(0\.01\)|if os\.path\.exists\(.*)(\n|$)"  # a record that follows takes the line's end
    assert re.match(r"The Python stacks of worker \(pid:\d+\):\n" + pattern + line, stacks), stacks


def test_stacks_of_the_other_threads_are_shown(server, folder):
    (folder / "background.py").write_text(
        "import threading, probe\n"
        "def ticks(): threading.Event().wait()\n"
        "threading.Thread(target=ticks, name='ticker', daemon=True).start()\n"
        "app = probe.app\n"
    )
    site = server("background:app", "--timeout", LIMIT, folder=folder)
    site.tracebacks_expected = True
    hang(site).result()
    site.wait_log("ticker (most recent call last):\n")
    assert " in ticks\n" in last_record(site.log(), "The Python stacks of worker")


def test_interpreter_that_does_not_answer_is_told_of(limited):
    """C code keeps its lock: the last known frames are shown."""
    site = limited()
    [worker] = site.workers(1)
    assert hang(site, "/keeps_interpreter").result().status == 504
    site.wait_log(f"The interpreter of worker (pid:{worker}) did not answer within 1 s")
    wait_until(
        lambda: re.search(
            r"thread 0x\w+.*\(most recent call first\):\n(  File .*\n)*  File .*probe\.py.* in keeps_interpreter\n",
            site.log(),
            re.IGNORECASE,
        ),
        "it shows where it stands",
    )
    wait_until(lambda: not alive(worker), "it is ended")
    assert site.get("/").status == 200


def test_its_client_gets_a_504_and_the_access_log_its_line(limited):
    site = limited()
    with site.connect() as c:
        c.send(encode("GET", "/wait?file=never", ["User-Agent: patient", "Referer: /before"]))
        reply = c.reply()
        assert (reply.status, reply.reason, reply["Connection"]) == (504, "Gateway Timeout", "close")
        assert "did not answer in time" in reply.text
        assert c.closed()
    [line] = site.wait_access("/wait")
    assert re.search(rf'^127\.0\.0\.1 .*"GET /wait\?file=never HTTP/1\.1" 504 {len(reply.body)} "/before" "patient"', line)


def test_head_request_gets_no_body(limited):
    site = limited()
    reply = site.request("HEAD", "/wait?file=never")
    assert (reply.status, reply.body) == (504, b"")


def test_over_tls(limited, certificate):
    assert hang(limited(tls=certificate)).result().status == 504


@pytest.mark.parametrize("page", ["stream_hangs", "write_hangs"])
def test_answer_that_has_begun_is_broken_off_and_has_its_line(limited, page):
    site = limited()
    with site.connect() as c:
        c.send(encode("GET", f"/{page}?file=never"))
        assert c.head().status == 200
        assert c.chunk() == b"first\n"
        with pytest.raises((Broken, ConnectionResetError)):
            c.chunk()
    [line] = site.wait_access(f"/{page}")
    assert re.search('HTTP/1.1" 200 6 ', line)


def test_answer_that_waits_for_close_is_whole(limited):
    site = limited()
    with site.connect() as c:
        c.send(encode("GET", "/close_hangs?file=never"))
        assert c.reply().body == b"complete"
        assert c.closed()
    [line] = site.wait_access("/close_hangs")
    assert re.search('HTTP/1.1" 200 8 ', line)


def test_client_that_left_has_its_line_too(limited):
    site = limited()
    with site.connect() as c:
        c.send(encode("GET", "/wait?file=never"))
        site.wait_call("/wait?file=never")
    site.wait_access("/wait.*504")
    site.wait_log(" s: its time (--timeout) is over")


def test_replacement_serves_before_the_old_worker_is_gone(limited):
    site = limited()
    [old] = site.workers(1)
    hang(site).result()
    assert site.get("/pid").text != str(old)  # a worker that takes too long may not serve, and there is but one other
    assert alive(old)
    wait_until(lambda: not alive(old), "the old worker is gone")


def test_requests_that_wait_for_the_one_thread_get_a_503(limited):
    site = limited()
    hung = [hang(site, f"/wait?file=never{i}") for i in range(site.threads)]
    with site.connect() as waiting, site.connect() as late:
        waiting.send(encode("POST", "/digest", body=b"x" * 100000))
        late.send(b"GET / HTTP/1.1\r\nHost: ")
        assert {h.result().status for h in hung} == {504}
        reply = waiting.reply()
        assert (reply.status, reply["Connection"]) == (503, "close")
        late.send(b"x\r\n\r\n")
        assert late.reply().status == 503
    site.wait_access("POST /digest.* 503 ")


def test_requests_on_other_threads_finish(several):
    site = several("--graceful-timeout", "600")
    [old] = site.workers(1)
    with site.connect(rcvbuf=1 << 15) as slow, site.connect() as running:
        slow.send(encode("GET", "/large?size=20000000"))
        slow.head()
        hung = hang(site)
        running.send(encode("GET", "/slow_pieces?n=8&sleep=0.5"))
        assert hung.result().status == 504
        site.wait_log("WORKER TIMEOUT")
        assert running.reply().body == b"piece\n" * 8
        assert alive(old)
        while slow.chunk():
            pass
    wait_until(lambda: not alive(old), "it has nothing else to do")
    site.wait_log(f"Worker (pid:{old}) exited with code 1.")


def test_requests_on_other_threads_have_graceful_timeout(several):
    site = several("--graceful-timeout", "1")
    [old] = site.workers(1)
    with site.connect() as running:
        hung = hang(site)
        running.send(encode("GET", "/slow_pieces?n=1000&sleep=0.1"))
        assert hung.result().status == 504
        running.head()
        with pytest.raises((Broken, ConnectionResetError)):
            while True:
                running.chunk()
    wait_until(lambda: not alive(old), "its time is over")


def test_each_of_several_is_told_of(several):
    site = several("--graceful-timeout", "600")
    [old] = site.workers(1)
    first = hang(site, "/wait?file=never1")
    second = hang(site, "/wait?file=never2")
    assert (first.result().status, second.result().status) == (504, 504)
    for text in "half of its time", "s: its time (--timeout) is over":
        assert len(re.findall(rf"GET /wait\?file=never\d from .*{re.escape(text)}", site.log())) == 2
    assert site.log().count(f"WORKER TIMEOUT (pid:{old})") == 1


def test_call_that_comes_back_after_all_ends_its_worker_in_order(limited):
    site = limited("--graceful-timeout", "600")
    [old] = site.workers(1)
    with site.connect() as other:
        other.send(b"GET / HTTP/1.1\r\n")  # keeps the worker
        assert hang(site, "/wait?file=go").result().status == 504
        (site.dir / "go").touch()
        other.close()
        site.wait_log(f"[{old}] [INFO] Worker exiting (pid: {old})")
    assert f"Worker (pid:{old}) exited with" not in site.log()
    assert len(site.wait_access("/wait")) == 1


def test_close_is_called_once_when_a_call_was_given_up(limited):
    site = limited()
    with site.connect() as c:
        c.send(encode("GET", "/iterating_hangs?file=go"))
        assert c.reply().status == 504
    (site.dir / "go").touch()
    site.wait_log("Worker exiting")
    assert (site.dir / "closed.txt").read_text().count("iterating_hangs") == 1


@pytest.mark.parametrize("page, pieces", [("slow_pieces", 6), ("slow_writes", 6), ("slow_whole", 3)])
def test_time_counts_from_the_last_piece_on(limited, page, pieces):
    site = limited()
    with site.connect() as c:
        assert c.request("GET", f"/{page}?n=6&sleep={LIMIT / 4}").body == b"piece\n" * pieces
        assert c.request("GET", "/").status == 200
    assert "TIMEOUT" not in site.log()


def test_slow_client_is_told_apart(limited):
    site = limited()
    with site.connect(rcvbuf=1 << 15) as c:
        c.send(encode("GET", "/large?size=50000000"))
        c.head()
        end = time.monotonic() + 1.5 * LIMIT  # nothing but time can show it
        while time.monotonic() < end:
            assert site.get("/").status == 200
            time.sleep(0.02)
    assert "has been running" not in site.log()


def test_short_request_is_not_told_of(limited):
    site = limited()
    site.get("/pid?sleep=0.3")
    assert "has been running" not in site.log()


def test_no_limit(limited):
    site = limited("--timeout", "0")
    assert site.get("/pid?sleep=0.3").status == 200
    assert "has been running" not in site.log()


def test_stop_while_it_hangs(limited):
    site = limited("--graceful-timeout", "1")
    hung = hang(site)
    site.wait_log("WORKER TIMEOUT")
    assert site.stop() == 0
    assert hung.result().status == 504


def test_quick_stop_while_it_hangs(limited):
    site = limited("--graceful-timeout", "600")
    with site.connect() as other:
        other.send(b"GET / HTTP/1.1\r\n")  # keeps the worker
        hung = hang(site)
        site.wait_log("WORKER TIMEOUT")
        assert site.stop("INT") == 0
    assert hung.result().status == 504


def test_reload_while_it_hangs(limited):
    site = limited("--graceful-timeout", "600")
    [old] = site.workers(1)
    with site.connect() as other:
        other.send(b"GET / HTTP/1.1\r\n")  # keeps the worker
        hang(site).result()
        site.signal("HUP")
        wait_until(lambda: site.log().count("Listening at") == 2, "the next image serves")
        assert site.get("/").status == 200
    wait_until(lambda: not alive(old), "the old worker is gone")
    site.workers(1)


def test_hook_worker_abort_is_called(limited, folder):
    (folder / "gunicorn.conf.py").write_text(
        "import os, sys\n"
        "def worker_abort(worker):\n"
        "    worker.log.info('abort %s %s', worker.pid == os.getpid(), worker.alive)\n"
        "    print('wait_for' in str(sys._current_frames()), file=sys.stderr)\n"
        "def worker_exit(server, worker):\n"
        "    worker.log.info('exit %s', worker.pid)\n"
    )
    site = limited(folder=folder)
    [worker] = site.workers(1)
    hang(site).result()
    site.wait_log(f"Worker (pid:{worker}) exited with code 1")
    assert "abort True False\n" in site.log()
    assert site.log().index("abort True") < site.log().index(f"exit {worker}")


def test_hook_worker_exit_is_called_without_the_other(limited, folder):
    (folder / "gunicorn.conf.py").write_text(
        "def worker_exit(server, worker):\n    worker.log.info('exit %s', worker.pid)\n"
    )
    site = limited(folder=folder)
    [worker] = site.workers(1)
    hang(site).result()
    site.wait_log(f"exit {worker}\n")


def test_import_that_hangs_shows_where_it_stands(server, folder):
    (folder / "stuck.py").write_text("import probe\nprobe.wait_for('never')\napp = probe.app\n")
    site = server("stuck:app", "--timeout", "1", folder=folder)
    site.tracebacks_expected = True
    site.wait_log("WORKER TIMEOUT")
    site.wait_log(" in wait_for\n")


def test_others_are_served_all_the_time(limited):
    """Load, and now and then a request that hangs: whoever does not wait behind it gets an answer."""
    site = limited(workers=2)
    with Load(site, 3, lambda s: s.get("/").status) as load:
        for i in range(3):
            assert hang(site, f"/wait?file=never{i}").result().status == 504
            load.wait_replies(20)
    assert not load.failures
    assert set(load.replies) <= {200, 503}


def test_stacks_of_all_workers_on_demand(server):
    site = server("probe:app", "-w", "2")
    pids = site.ready_workers(2)
    busy = site.background("get", "/wait?file=go")
    site.wait_call("/wait?file=go")
    site.signal("URG")
    wait_until(lambda: site.log().count("(most recent call first)") >= 2, "each worker has said where it stands")
    site.wait_log(" in wait_for")
    (site.dir / "go").touch()
    assert busy.result().body == b"waited"
    assert site.workers(2) == pids

"""A request that takes too long: what the log says of it, and what becomes of the others."""

import re

import pytest

from harness import THREADED, ours, wait_until
from wire import Broken


@ours
@pytest.mark.parametrize("path", ["/wait?file=never", "/keeps_interpreter"])
def test_log_tells_of_it_at_half_of_its_time_and_at_the_end(server, path):
    site = server("probe:app", "-w", "1", "--timeout", "2")
    site.tracebacks_expected = True
    [worker] = site.ready_workers(1)
    lost = site.background("get", path)
    site.wait_log(f"GET {path} from 127.0.0.1 has been running for 1 s: half of its time (--timeout) is over")
    site.wait_log(f"GET {path} from 127.0.0.1 has been running for 2 s: its time (--timeout) is over")
    site.wait_log(f"[CRITICAL] WORKER TIMEOUT (pid:{worker})")
    site.wait_log(f"Worker (pid:{worker}) was sent SIGABRT!")
    function = "wait_for" if "wait" in path else "keeps_interpreter"
    assert re.search(rf"thread 0x\w+.*\(most recent call first\):\n(  File .*\n)*  File .*probe\.py.* in {function}\n",
                     site.log(), re.IGNORECASE)  # fmt: skip
    with pytest.raises((Broken, OSError)):
        lost.result()
    assert site.get("/").status == 200


@ours
def test_short_request_is_not_told_of(server):
    site = server("probe:app", "-w", "1", "--timeout", "2")
    site.get("/pid?sleep=0.3")
    assert "has been running" not in site.log()


@ours
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


@ours
@pytest.mark.skipif(THREADED, reason="it has threads of its own")
def test_log_tells_of_the_oldest_of_several_calls(server):
    site = server("probe:app", "-w", "1", "--threads", "2", "--timeout", "2")
    site.tracebacks_expected = True
    lost = site.background("get", "/wait?file=never")
    site.wait_call("/wait?file=never")
    site.get("/pid?sleep=0.1")
    site.wait_log("GET /wait?file=never from 127.0.0.1 has been running for 1 s: half of its time")
    site.wait_log("WORKER TIMEOUT")
    with pytest.raises((Broken, OSError)):
        lost.result()

"""What the server answers itself: metrics for Prometheus, and the status page."""

import base64
import json
import socket
import subprocess
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import BOUND, environment, free_port, ours, run, wait_until
from test_story import chromium
from wire import Connection, encode

pytestmark = ours
PAGE = "/-/cwsgi"


def ask(port, path="/metrics", method="GET", headers=()):
    with socket.create_connection(("127.0.0.1", port), timeout=BOUND) as sock:
        c = Connection(sock)
        c.send(encode(method, path, headers))
        return c.reply(method)


def metrics(port):
    reply = ask(port)
    assert reply.status == 200 and reply["Content-Type"].startswith("text/plain; version=0.0.4")
    found = {}
    for family in text_string_to_metric_families(reply.text):
        assert family.documentation and family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            found[sample.name, *sorted(sample.labels.items())] = sample.value
    return found


def test_metrics_tell_what_was_served(server, certificate):
    port = free_port()
    s = server("probe:app", "-w", "2", "--metrics-bind", f"127.0.0.1:{port}", tls=certificate)
    s.ready_workers(2)
    before = metrics(port)
    for _ in range(7):
        assert s.get("/").status == 200
    assert s.request("BREW", "/").status == 501
    s.wait_access('"GET /', 7)
    with socket.create_connection(("127.0.0.1", s.port), timeout=BOUND) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x04what")
        while sock.recv(100):
            pass
    found = metrics(port)

    def grew(name, *labels):
        key = (name, *labels)
        return found[key] - before.get(key, 0)

    assert grew("cwsgi_requests_total", ("status", "2xx")) >= 7
    assert grew("cwsgi_requests_total", ("status", "5xx")) == 1
    assert grew("cwsgi_tls_handshakes_total", ("result", "done")) == 8
    assert grew("cwsgi_tls_handshakes_total", ("result", "failed")) == 1
    assert found["cwsgi_workers", ("state", "ready")] == 2
    assert found["cwsgi_workers_resident_bytes",] > 1e6
    assert found["cwsgi_certificate_days_left", ("certificate", "0"), ("name", "localhost")] in (29, 30)
    count = found["cwsgi_request_duration_seconds_count",]
    assert found["cwsgi_request_duration_seconds_bucket", ("le", "+Inf")] == count >= 8
    buckets = [v for k, v in found.items() if k[0] == "cwsgi_request_duration_seconds_bucket"]
    assert buckets == sorted(buckets) and len(buckets) == 15
    assert s.calls() and not any("metrics" in call for call in s.calls())


def test_metrics_outlive_workers_and_reloads(server):
    port = free_port()
    s = server("probe:app", "--metrics-bind", f"127.0.0.1:{port}")
    for _ in range(5):
        s.get("/")
    s.wait_access('"GET /', 5)
    pid = s.workers(1)[0]
    s.signal("HUP")
    wait_until(lambda: pid not in s.children(), "the old worker has gone")
    found = metrics(port)
    assert found["cwsgi_requests_total", ("status", "2xx")] >= 5
    assert found["cwsgi_generation",] == 2 and found["cwsgi_reloads_total", ("result", "done")] == 1


def test_metrics_are_the_same_in_every_locale(server, folder, locales):
    """In a German one, decimals have a comma."""
    (folder / "german.py").write_text("import locale\nlocale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')\nfrom hello import app\n")
    port = free_port()
    s = server("german:app", "--metrics-bind", f"127.0.0.1:{port}", folder=folder, env=locales)
    began = time.monotonic()
    assert s.get("/").status == 200
    s.wait_access('"GET /')
    passed = time.monotonic() - began
    found = metrics(port)
    took = found["cwsgi_request_duration_seconds_sum",]
    assert 0 < took < passed  # in seconds: no longer than we have waited
    assert found["cwsgi_request_duration_seconds_bucket", ("le", "2.5")] == (took <= 2.5)


def test_only_metrics_are_at_their_address(server):
    port = free_port()
    s = server("probe:app", "--metrics-bind", f"127.0.0.1:{port}")
    assert ask(port, "/").text.startswith("# HELP cwsgi_info")
    assert ask(port, "/", "POST").status == 405
    assert ask(port, "/", "HEAD").body == b""
    assert s.calls() == []


def test_address_of_metrics_that_is_taken_is_an_error(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        r = run("-b", "127.0.0.1:0", "--metrics-bind", address, "probe:app", cwd=tmp_path, env=environment())
    assert r.returncode == 1 and f"{address} is already in use" in r.stderr


# The page


def test_page_is_off_by_default(server):
    s = server("probe:app")
    s.get(PAGE)
    assert any(PAGE in call for call in s.calls())


def test_page_and_its_data(server, certificate):
    s = server("probe:app", "--status-path", PAGE, "-n", "My <site>", tls=certificate)
    page = s.get(PAGE)
    assert page.status == 200 and page["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page["Content-Security-Policy"]
    assert b"//" not in page.body.replace(b"http://www.w3.org/2000/svg", b"")  # nothing is loaded from anywhere
    assert s.get('/?"<script>%00').status == 200
    s.wait_access("script")
    data = json.loads(s.get(PAGE + "?json").body)
    assert data["name"] == "My <site>" and data["generation"] == 1
    assert data["requests"] >= 1 and len(data["minutes"]) == 60
    assert "localhost" in data["certificates"][0]["names"]
    assert [w["pid"] for w in data["workers"]] == s.children()
    assert any("<script>" in r["target"] for r in data["slowest"])
    assert not any(PAGE in call for call in s.calls())
    wait_until(lambda: json.loads(s.get(PAGE + "?json").body)["minutes"][-1], "this minute is counted")


def test_page_shows_what_runs(server, tmp_path):
    s = server("probe:app", "--status-path", PAGE)
    file = s.dir / "go"
    running = s.background("get", f"/wait?file={file}")
    s.wait_call("/wait")
    data = wait_until(
        lambda: (d := json.loads(s.get(PAGE + "?json").body)) and d["workers"][0]["request"] and d, "it is shown"
    )
    assert data["workers"][0]["state"] == "busy"
    assert data["workers"][0]["request"]["target"].startswith("/wait?file=")
    file.touch()
    assert running.result().status == 200


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_who_comes_by_way_of_a_front_end_is_turned_away(server, name):
    s = server("probe:app", "--status-path", PAGE)
    assert s.get(PAGE).status == 200
    reply = s.get(PAGE, f"{name}: for=127.0.0.1")
    assert reply.status == 403 and s.calls() == []


def test_password_opens_the_page(server):
    s = server("probe:app", "--status-path", PAGE, env=environment(CWSGI_STATUS_AUTH="ann:s3:cret"))

    def knock(credentials, scheme="Basic"):
        word = base64.b64encode(credentials.encode()).decode()
        return s.get(PAGE + "?json", "Via: a front end", f"Authorization: {scheme} {word}")

    reply = s.get(PAGE, "Via: a front end")
    assert reply.status == 401 and reply["WWW-Authenticate"] == 'Basic realm="cwsgi"'
    assert knock("ann:s3:cret").status == 200
    for wrong in ("ann:s3:creT", "ann:s3:cre", "ann:s3:crett", "", ":"):
        assert knock(wrong).status == 401
    assert knock("ann:s3:cret", "Bearer").status == 401
    assert s.get(PAGE).status == 200  # from this machine
    assert s.request("POST", PAGE).status == 405


@pytest.mark.skipif(not chromium(), reason="no chromium here")
def test_browser_draws_the_page(server, tmp_path):
    s = server("probe:app", "--status-path", PAGE, "-n", "site")
    for _ in range(3):
        s.get("/slowly?a=<b>")
    out = subprocess.run(
        [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--timeout=20000"]
        + [f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"http://127.0.0.1:{s.port}{PAGE}"],
        capture_output=True, text=True, timeout=4 * BOUND).stdout  # fmt: skip
    assert f"<td>{s.children()[0]}</td>" in out
    assert "GET /slowly?a=&lt;b&gt;" in out
    assert 'aria-label="at most' in out

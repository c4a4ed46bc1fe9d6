"""What the server sends to others: the logs to syslog, metrics to statsd."""

import os
import re
import socket
import threading

import pytest

from harness import APART, BOUND, environment, free_port, limited, may_mount, ours, run, wait_until


class Collector:
    """A daemon that only listens: `records` has what came, each record as sent."""

    def __init__(self, family, kind, address):
        self.records = []
        self.sock = socket.socket(family, kind)
        self.sock.bind(address)
        self.sock.settimeout(0.1)
        self.closing = False
        if kind == socket.SOCK_STREAM:
            self.sock.listen()
        self.threads = [threading.Thread(target=self.accept if kind == socket.SOCK_STREAM else self.receive)]
        self.threads[0].start()

    def receive(self):
        while not self.closing:
            try:
                self.records.append(self.sock.recv(65536).decode())
            except TimeoutError:
                pass

    def accept(self):
        while not self.closing:
            try:
                peer, _ = self.sock.accept()
            except TimeoutError:
                continue
            self.threads.append(threading.Thread(target=self.read, args=[peer]))
            self.threads[-1].start()

    def read(self, peer):
        with peer, peer.makefile("rb") as f:
            data = b""
            while chunk := f.read1():
                *whole, data = (data + chunk).split(b"\0")
                self.records += [r.decode() + "\0" for r in whole]

    def wait(self, pattern):
        return wait_until(lambda: [r for r in self.records if re.fullmatch(pattern, r)], f"{pattern} came")

    def close(self):
        self.closing = True
        for t in self.threads:
            t.join(BOUND)
        self.sock.close()


@pytest.fixture
def collector():
    made = []

    def make(*args):
        made.append(Collector(*args))
        return made[-1]

    yield make
    for c in made:
        c.close()


def syslog_at(collector, where, folder):
    """A collector there, and what --log-syslog-to calls it."""
    port = free_port()
    if where == "udp":
        return collector(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", port)), f"udp://127.0.0.1:{port}"
    if where == "udp6":
        return collector(socket.AF_INET6, socket.SOCK_DGRAM, ("::1", port)), f"udp://[::1]:{port}"
    if where == "tcp":
        return collector(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", port)), f"tcp://localhost:{port}"
    kind = socket.SOCK_STREAM if where == "unix stream" else socket.SOCK_DGRAM
    mark = "#dgram" if where == "unix#dgram" else ""
    return collector(socket.AF_UNIX, kind, str(folder / "log")), f"unix://{folder}/log{mark}"


@pytest.mark.parametrize("where", ["udp", "udp6", "tcp", "unix", "unix#dgram", "unix stream"])
def test_both_logs_go_to_syslog(server, folder, collector, where):
    daemon, address = syslog_at(collector, where, folder)
    s = server("hello:app", "--log-syslog", "--log-syslog-to", address, folder=folder)
    (worker,) = s.ready_workers(1)
    assert s.get("/page?a=1").status == 200
    daemon.wait(rf"<14>gunicorn\.hello\.app\.error: \[{s.pid}\] Listening at: http://127.0.0.1:{s.port} \({s.pid}\)\0")
    daemon.wait(rf"<14>gunicorn\.hello\.app\.error: \[{worker}\] Booting worker with pid: {worker}\0")
    daemon.wait(rf'<14>gunicorn\.hello\.app\.access: \[{worker}\] 127\.0\.0\.1 .* "GET /page\?a=1 HTTP/1\.1" 200 .*\0')
    assert "Booting worker" in s.log()
    s.stop()
    daemon.wait(rf"<14>gunicorn\.hello\.app\.error: \[{s.pid}\] Shutting down: Master\0")


@ours
@may_mount
@pytest.mark.parametrize("where", ["udp", "tcp"])
def test_collector_at_the_second_address_of_a_host(server, folder, collector, where):
    """Where localhost is ::1 before it is 127.0.0.1, as on most systems."""
    (folder / "hosts").write_text("::1 localhost ip6-localhost\n127.0.0.1 localhost\n")
    there = limited(folder, APART, f"mount --bind {folder}/hosts /etc/hosts")
    daemon, address = syslog_at(collector, where, folder)
    args = ["--log-syslog", "--log-syslog-to", address.replace("127.0.0.1", "localhost")]
    statsd, port = syslog_at(collector, "udp", folder)
    args += ["--statsd-host", port.replace("udp://127.0.0.1", "localhost")]
    s = server("hello:app", *args, exe=there, folder=folder)
    s.ready_workers(1)
    assert s.get("/page").status == 200
    daemon.wait(r'<14>gunicorn\.hello\.app\.access: .* "GET /page HTTP/1\.1" 200 .*\0')
    statsd.wait(r"[\s\S]*gunicorn\.requests:1\|c[\s\S]*")
    s.stop()


def test_name_facility_and_severity_in_syslog(server, folder, collector):
    daemon, address = syslog_at(collector, "udp", folder)
    args = ["--log-syslog-to", address, "--log-syslog-prefix", "shop:1", "--log-syslog-facility", "LOCAL3"]
    s = server("probe:app", "--log-syslog", *args, "--disable-redirect-access-to-syslog")
    (worker,) = s.ready_workers(1)
    os.kill(worker, 9)
    daemon.wait(rf"<155>gunicorn\.shop\.1\.error: \[{s.pid}\] Worker \(pid:{worker}\) was sent SIGKILL!.*\0")
    assert s.get("/").status == 200
    s.wait_access("GET / ")
    s.stop()
    assert not [r for r in daemon.records if ".access:" in r]


@ours
@pytest.mark.parametrize(
    "args, says",
    [
        (["--log-syslog-to", "tcp://127.0.0.1:1"], "Connection refused"),
        (["--log-syslog-to", "unix:///no/such/socket"], "No such file"),
        (["--log-syslog-to", "localhost:514"], "udp://HOST:PORT"),
        (["--log-syslog-facility", "pigeons"], "pigeons"),
    ],
)
def test_syslog_that_cannot_be_had(folder, args, says):
    done = run("--log-syslog", *args, "hello:app", cwd=folder, env=environment())
    assert done.returncode == 1
    assert says in done.stderr


@ours
def test_syslog_that_is_started_anew_is_found_again(server, folder, collector):
    daemon, address = syslog_at(collector, "unix", folder)
    s = server("hello:app", "--log-syslog", "--log-syslog-to", address, folder=folder)
    s.ready_workers(1)
    daemon.close()
    os.unlink(folder / "log")
    assert s.get("/lost").status == 200
    daemon = Collector(socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "log"))
    try:
        wait_until(lambda: s.get("/again").status == 200 and "GET /again" in "".join(daemon.records), "it is found")
    finally:
        daemon.close()


def metrics(daemon):
    return [line for r in daemon.records for line in r.split("\n")]


@pytest.mark.parametrize("scheme", ["", "unix:", "unix://"])
def test_metrics_of_requests_and_workers(server, folder, collector, scheme):
    daemon, address = syslog_at(collector, "unix" if scheme else "udp", folder)
    address = scheme + address.split("://")[1]
    s = server("probe:app", "-w", "2", "--statsd-host", address, "--statsd-prefix", "shop", folder=folder)
    s.ready_workers(2)
    assert s.get("/").status == 200
    assert s.get("/status?line=404%20Gone").status == 404
    wait_until(lambda: metrics(daemon).count("shop.gunicorn.requests:1|c|@1.0") == 2, "both requests are counted")
    assert "shop.gunicorn.workers:2|g" in metrics(daemon)
    assert "shop.gunicorn.request.status.200:1|c|@1.0" in metrics(daemon)
    assert "shop.gunicorn.request.status.404:1|c|@1.0" in metrics(daemon)
    took = [m for m in metrics(daemon) if re.fullmatch(r"shop\.gunicorn\.request\.duration:\d+\.\d+\|ms", m)]
    assert len(took) == 2
    s.signal("TTIN")
    wait_until(lambda: "shop.gunicorn.workers:3|g" in metrics(daemon), "the new number is told")


def test_metrics_are_the_same_in_every_locale(server, folder, collector, locales):
    """In a German one, decimals have a comma."""
    (folder / "german.py").write_text("import locale\nlocale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')\nfrom hello import app\n")
    daemon, address = syslog_at(collector, "udp", folder)
    s = server("german:app", "--statsd-host", address[6:], folder=folder, env=locales)
    assert s.get("/").status == 200
    took = r"gunicorn\.request\.duration:\d+\.\d{3}\|ms"
    wait_until(lambda: any(re.fullmatch(took, m) for m in metrics(daemon)), "the duration is told")


def test_metrics_of_the_log_and_tags(server, folder, collector):
    (folder / "raises.py").write_text("def app(environ, start_response):\n    raise RuntimeError('no')\n")
    daemon, address = syslog_at(collector, "udp", folder)
    args = ["--statsd-host", address[6:], "--dogstatsd-tags", "tier:gold,zone:a"]
    s = server("raises:app", *args, folder=folder)
    s.tracebacks_expected = True
    (worker,) = s.ready_workers(1)
    assert s.get("/").status == 500
    wait_until(lambda: "gunicorn.log.exception:1|c|@1.0|#tier:gold,zone:a" in metrics(daemon), "it is counted")
    wait_until(lambda: "gunicorn.request.status.500:1|c|@1.0|#tier:gold,zone:a" in metrics(daemon), "so is the answer")
    os.kill(worker, 9)
    wait_until(lambda: "gunicorn.log.error:1|c|@1.0|#tier:gold,zone:a" in metrics(daemon), "so is the loss")


def test_metric_of_connections_that_wait(server, folder, collector):
    daemon, address = syslog_at(collector, "udp", folder)
    s = server("hello:app", "--statsd-host", address[6:], "--enable-backlog-metric", folder=folder)
    s.ready_workers(1)
    wait_until(lambda: metrics(daemon).count("gunicorn.backlog:0|h") >= 2, "it is told again and again")


@ours
def test_statsd_need_not_be_there_but_must_be_possible(server, folder):
    s = server("hello:app", "--statsd-host", "127.0.0.1:1")
    assert s.get("/").status == 200
    t = server("hello:app", "--statsd-host", f"unix://{folder}/comes-later")
    assert t.get("/").status == 200
    done = run("--statsd-host", "127.0.0.1:pigeon", "hello:app", cwd=folder, env=environment())
    assert (done.returncode, "pigeon" in done.stderr) == (1, True)

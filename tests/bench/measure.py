"""Processor time, memory and answers of a server under load, seen from outside: /proc and h2load."""

import http.client
import os
import re
import signal
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 30  # seconds for a server to start or to end


class Trouble(Exception):
    """A server that does not start, or answers something else."""


def tree(pid):
    """The process and all that descend from it."""
    pids = [pid]
    for p in pids:
        try:
            for task in Path(f"/proc/{p}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            pass
    return pids


def cpu_seconds(pid):
    """User and system time of the living processes of a tree."""
    ticks = 0
    for p in tree(pid):
        try:
            fields = Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def pss_kib(pid):
    total = 0
    for p in tree(pid):
        try:
            found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{p}/smaps_rollup").read_text(), re.M)
        except OSError:
            continue
        total += int(found[1]) if found else 0
    return total


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def insecure():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Server:
    """A command that serves on a port, in a folder of its own, until stop()."""

    def __init__(self, name, argv, port, tls=False, env=None, cwd=None):
        self.name, self.argv, self.port, self.tls = name, argv, port, tls
        self.env, self.cwd = env, cwd
        self.log = tempfile.TemporaryFile()
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=self.env,
            cwd=self.cwd,
            start_new_session=True,
        )
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def url(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/"

    def get(self, body=None):
        """Status and body of one request on a connection of its own."""
        if self.tls:
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=insecure())
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST" if body else "GET", "/", body)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def wait(self, body=None, pause=0.05):
        """The first answer, once there is one."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.get(body)
            except (OSError, http.client.HTTPException) as error:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise Trouble(f"{self.name} does not answer: {error}\n{self.said()}") from error
            time.sleep(pause)

    def said(self):
        self.log.seek(0)
        return self.log.read()[-2000:].decode(errors="replace")

    def stop(self):
        if self.log.closed:
            return
        pids = tree(self.pid)
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        for pid in pids:  # our own descendants, those that outlived their parent included
            try:
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.process.wait()
        self.log.close()


@dataclass
class Load:
    """What h2load is to do: `connections` at once, `pipelined` requests in flight on each."""

    connections: int = 16
    pipelined: int = 1
    close: bool = False
    post: Path | None = None

    def argv(self, url, count, log):
        argv = ["h2load", "--h1", "-t", "1", "-n", str(count), "-c", str(min(self.connections, count))]
        argv += ["-m", str(self.pipelined), "--log-file", str(log)]
        argv += ["-H", "Connection: close"] if self.close else []
        argv += ["-d", str(self.post)] if self.post else []
        return [*argv, url]


@dataclass
class Round:
    """One run of h2load against one server."""

    requests: int
    seconds: float
    cpu_us: float  # a request
    p50_us: float
    p99_us: float

    @property
    def rate(self):
        return self.requests / self.seconds


def run_load(server, load, count, length):
    """`length`: of the body that each answer must have. Every answer is checked by status and length."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        before, start = cpu_seconds(server.pid), time.monotonic()
        try:
            done = subprocess.run(load.argv(server.url, count, log), capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise Trouble(f"{server.name}: some of {count} requests got no answer") from error
        seconds, used = time.monotonic() - start, cpu_seconds(server.pid) - before
        latencies = sorted(int(line.split()[2]) for line in log.read_text().splitlines())
    succeeded = re.search(r"(\d+) succeeded", done.stdout)
    fine = re.search(r"status codes: (\d+) 2xx", done.stdout)
    data = re.search(r"headers .*\((\d+)\) data", done.stdout)
    if not (succeeded and fine and data) or int(succeeded[1]) != count or int(fine[1]) != count:
        raise Trouble(f"{server.name}: {count} requests were sent:\n{done.stdout[-800:]}{done.stderr[-300:]}")
    if int(data[1]) != count * length:
        raise Trouble(f"{server.name}: {data[1]} bytes of body instead of {count * length}")
    return Round(
        count,
        seconds,
        used / count * 1e6,
        latencies[len(latencies) // 2],
        latencies[min(len(latencies) - 1, len(latencies) * 99 // 100)],
    )


def median_spread(values):
    return statistics.median(values), min(values), max(values)

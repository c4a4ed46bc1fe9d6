#!/usr/bin/env python3
"""How slow clients change the time that others wait: prints figures, judges nothing.

    tests/load/slow_clients.py [BINARY [ROUNDS]]      (default: build/cwsgi 3)

One worker. Normal requests are timed alone, then beside 1,000 connections that send a header byte now and then, 200
that upload slowly and 200 that hardly read a large answer, in turn, a few times over.
"""

import contextlib
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

APP = b"""
LARGE = b"x" * (8 << 20)
def app(environ, start_response):
    body = LARGE if environ["PATH_INFO"] == "/large" else b"Hello, World!"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
"""
HEAD = b" HTTP/1.1\r\nHost: localhost\r\n"
SECONDS = 5  # of each measurement
TICK = 0.5  # between two bytes of a slow client


def connect(port, receive_buffer=None):
    s = socket.socket()
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.connect(("127.0.0.1", port))
    return s


class Crowd:
    """The slow clients, driven by tick() between two normal requests."""

    def __init__(self, port):
        self.heads = [connect(port) for _ in range(1000)]
        self.uploads = [connect(port) for _ in range(200)]
        self.readers = [connect(port, 4096) for _ in range(200)]
        for s in self.heads:
            s.sendall(b"GET /" + HEAD + b"X: ")
        for s in self.uploads:
            s.sendall(b"POST /" + HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000)
        for s in self.readers:
            s.sendall(b"GET /large" + HEAD + b"\r\n")
        self.next = time.monotonic()

    def tick(self):
        if time.monotonic() < self.next:
            return
        self.next += TICK
        for s in self.heads:
            s.send(b"x", socket.MSG_DONTWAIT)
        for s in self.uploads:
            s.send(b"x" * 200, socket.MSG_DONTWAIT)
        for s in self.readers:
            with contextlib.suppress(BlockingIOError):
                s.recv(2048, socket.MSG_DONTWAIT)

    def close(self):
        for s in self.heads + self.uploads + self.readers:
            s.close()


def measure(port, tick):
    times = []
    s = connect(port)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        start = time.perf_counter()
        s.sendall(b"GET /" + HEAD + b"\r\n")
        assert s.recv(4096).startswith(b"HTTP/1.1 200 ")
        times.append((time.perf_counter() - start) * 1e6)
        tick()
        time.sleep(0.001)
    s.close()
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else root / "build" / "cwsgi")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "slow_app.py").write_bytes(APP)
        server = subprocess.Popen(
            [binary, "-w", "1", "-b", f"127.0.0.1:{port}", "--worker-connections", "5000", "--log-level", "error"]
            + ["slow_app:app"],
            cwd=folder,
        )
        try:
            while True:
                with contextlib.suppress(OSError):
                    connect(port).close()
                    break
                time.sleep(0.05)
            ratios = []
            for _ in range(rounds):
                alone = measure(port, lambda: None)
                crowd = Crowd(port)
                time.sleep(1)
                beside = measure(port, crowd.tick)
                crowd.close()
                time.sleep(1)
                ratios.append(beside[1] / alone[1])
                print(
                    f"alone: median {alone[0]:.0f} us, p99 {alone[1]:.0f} us;"
                    f"  beside 1,400 slow clients: median {beside[0]:.0f} us, p99 {beside[1]:.0f} us;"
                    f"  p99 ratio {ratios[-1]:.2f}"
                )
            print(f"p99 ratio, median of {rounds} rounds: {statistics.median(ratios):.2f}")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()

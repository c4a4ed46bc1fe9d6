#!/usr/bin/env python3
"""How a flood of TLS handshakes changes the time that established connections wait: prints figures, judges nothing.

    tests/load/handshake_flood.py [BINARY [ROUNDS]]      (default: build/cwsgi 3)

One worker with an RSA key of 2048 bits. Requests on one kept connection are timed alone, then beside processes that do
nothing but full handshakes, eight at a time, in turn, a few times over.
"""

import contextlib
import multiprocessing
import os
import pathlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time

APP = b"""
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello, World!"]
"""
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
SECONDS = 5  # of each measurement
CLIENTS = 8  # at once


def context():
    ctx = ssl.create_default_context()
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_NONE
    return ctx


def shake(port, ctx):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as s:
        with ctx.wrap_socket(s):
            return 1
    return 0


def flood(port, stop, done):
    def one():
        ctx = context()
        while not stop.is_set():
            n = shake(port, ctx)
            with done.get_lock():
                done.value += n

    threads = [threading.Thread(target=one) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def measure(port):
    times = []
    with context().wrap_socket(socket.create_connection(("127.0.0.1", port))) as s:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            start = time.perf_counter()
            s.sendall(REQUEST)
            assert s.recv(4096).startswith(b"HTTP/1.1 200 ")
            times.append((time.perf_counter() - start) * 1e6)
            time.sleep(0.001)
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    binary = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else root / "build" / "cwsgi")
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "flooded.py").write_bytes(APP)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9", "-subj", "/CN=localhost"]
            + ["-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True)  # fmt: skip
        server = subprocess.Popen(
            [binary, "-w", "1", "-b", f"127.0.0.1:{port}", "--certfile", "cert.pem", "--keyfile", "key.pem"]
            + ["--log-level", "error", "flooded:app"], cwd=folder)  # fmt: skip
        try:
            while not shake(port, context()):
                time.sleep(0.05)
            for _ in range(rounds):
                alone = measure(port)
                stop, done = multiprocessing.Event(), multiprocessing.Value("L", 0)
                crowd = multiprocessing.Process(target=flood, args=(port, stop, done))
                crowd.start()
                time.sleep(0.5)
                before = done.value
                beside = measure(port)
                rate = (done.value - before) / SECONDS
                stop.set()
                crowd.join()
                print(
                    f"alone: median {alone[0]:.0f} us, p99 {alone[1]:.0f} us;"
                    f"  beside {rate:.0f} handshakes a second: median {beside[0]:.0f} us, p99 {beside[1]:.0f} us"
                )
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()

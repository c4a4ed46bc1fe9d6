#!/usr/bin/env python3
"""What an idle keep-alive connection costs a worker: prints figures, judges nothing.

    tests/load/idle_connections.py [CONNECTIONS [BINARY]]      (default: 10000 build/cwsgi)

One worker. Each connection gets one answer and then stays. The cost is the growth of the worker's private memory, from
after a first hundred (which pay for what is made once) to the last. The kernel's own memory for sockets is no part of it.
"""

import contextlib
import os
import pathlib
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time

APP = b"""
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, World!"]
"""
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
FIRST = 100


def private_bytes(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")) * 1024


def connect(port, tls):
    """A connection that has had its answer; over TLS only the socket is kept, so that we cost little ourselves."""
    s = socket.create_connection(("127.0.0.1", port))
    wrapped = tls.wrap_socket(s) if tls else s
    wrapped.sendall(REQUEST)
    assert wrapped.recv(4096).startswith(b"HTTP/1.1 200 ")
    return socket.socket(fileno=wrapped.detach()) if tls else s


def wait_for(port):
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)


def only_child(pid):
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def measure(folder, binary, n, tls):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    args = ["-w", "1", "-b", f"127.0.0.1:{port}", "--keep-alive", "3600", "--log-level", "error"]
    args += ["--worker-connections", str(n + 100)]
    args += ["--certfile", "both.pem"] if tls else []
    server = subprocess.Popen([binary, *args, "idle_app:app"], cwd=folder)
    connections = []
    try:
        wait_for(port)
        worker = only_child(server.pid)
        connections += [connect(port, tls) for _ in range(FIRST)]
        before = private_bytes(worker)
        connections += [connect(port, tls) for _ in range(n - FIRST)]
        growth = private_bytes(worker) - before
        print(f"{'TLS' if tls else 'plain'}: {n} idle connections, {growth / (n - FIRST):.0f} bytes each")
    finally:
        for s in connections:
            s.close()
        server.terminate()
        server.wait()


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    binary = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else root / "build" / "cwsgi")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < n + 200:
        sys.exit(f"{n} connections need {n + 200} descriptors, and ulimit -Hn allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "idle_app.py").write_bytes(APP)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-subj", "/CN=localhost", "-keyout", "both.pem", "-out", "certificate.pem"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        with open(pathlib.Path(folder, "both.pem"), "ab") as both:
            both.write(pathlib.Path(folder, "certificate.pem").read_bytes())
        measure(folder, binary, n, None)
        measure(folder, binary, n, tls)


if __name__ == "__main__":
    main()

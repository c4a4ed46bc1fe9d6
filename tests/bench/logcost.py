"""logcost.py [BINARY] - what a line of the access log costs: processor time of the worker per request, with the log off
and on, in turns, so that what else the machine does counts for both. Prints medians, and the least of each,
which a busy machine disturbs less."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Server, free_port

ROUNDS = 9
REQUESTS = 6000
FORMATS = {"combined": [], "json": ["--access-logformat", "json"], "logfmt": ["--access-logformat", "logfmt"]}


def worker_ns(server):
    (pid,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return sum(int(t.read_text().split()[0]) for t in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def round_ns(server, connections):
    before = worker_ns(server)
    argv = ["h2load", "--h1", f"-n{REQUESTS}", f"-c{connections}", "-t1", "-H", "User-Agent: Mozilla/5.0 (X11; Linux x86_64)"]
    done = subprocess.run([*argv, f"http://127.0.0.1:{server.port}/some/path?with=query"], capture_output=True, text=True)
    assert f"{REQUESTS} succeeded" in done.stdout, done.stdout + done.stderr
    return (worker_ns(server) - before) / REQUESTS


def main():
    binary = sys.argv[1] if len(sys.argv) > 1 else "build/cwsgi"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "plain.py").write_text(
            "def app(environ, start_response):\n"
            "    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '13')])\n"
            "    return [b'Hello, World!']\n"
        )
        servers = {}
        for name, args in {"off": None, **FORMATS}.items():
            log = [] if args is None else ["--access-logfile", f"{name}.log", *args]
            port = free_port()
            argv = [str(Path(binary).resolve()), "-b", f"127.0.0.1:{port}", "--keep-alive", "60", *log, "plain:app"]
            servers[name] = Server(name, argv, port, cwd=folder).start()
        time.sleep(1)
        try:
            for connections in (1, 8, 64):
                found = {name: [] for name in servers}
                for i in range(ROUNDS):
                    for name in list(servers) if i % 2 else reversed(list(servers)):
                        found[name].append(round_ns(servers[name], connections))
                for what, of in (("median", statistics.median), ("least", min)):
                    off = of(found["off"])
                    print(f"{connections:3} connections, {what}: off {off / 1000:.2f} µs a request", end="")
                    for name in FORMATS:
                        print(f", {name} {(of(found[name]) - off) / 1000:+.2f}", end="")
                    print(flush=True)
        finally:
            for s in servers.values():
                s.process.terminate()
                s.process.wait(30)
                s.stop()


main()

"""What is not a rate: memory, the time until the first answer, idle connections, a reload under load, a soak."""

import http.client
import os
import re
import select
import signal
import socket
import subprocess
import threading
import time

from measure import PATIENCE, Load, Trouble, cpu_seconds, insecure, median_spread, pss_kib, run_load
from peers import Cwsgi, Gunicorn
from workloads import Workload

IDLE = 10_000
STARTS = 5
SITES = {"Flask": "flask_hello:app", "Django": "django_hello:app"}
VARIANTS = [
    Cwsgi(),
    Cwsgi("cwsgi --preload", "--preload"),
    Gunicorn("sync"),
    Gunicorn("sync", "--preload"),
]


def _started(place, peer, workload, say):
    if peer.missing(place) or not peer.suits(workload):
        return None
    server = peer.server(place, workload)
    begin = time.monotonic()
    try:
        server.start().wait(pause=0.002)
        return server, time.monotonic() - begin
    except Trouble as trouble:
        server.stop()
        say(f"    {trouble}")
        return None


def footprint(place, peers, say):
    """PSS after the start and after load, and the time to the first answer, by site, workers and server."""
    results = {}
    for site, app in SITES.items():
        for workers in (1, 3):
            for peer in VARIANTS + [p for p in peers if p.python and not isinstance(p, (Cwsgi, Gunicorn))]:
                workload = Workload("memory", "", app, workers=workers)
                firsts = []
                for _ in range(STARTS):
                    started = _started(place, peer, workload, say)
                    if not started:
                        break
                    server, first = started
                    firsts.append(first)
                    if len(firsts) < STARTS:
                        server.stop()
                if len(firsts) < STARTS:
                    continue
                time.sleep(1)  # workers that were not the first to answer have come up, too
                idle = pss_kib(server.pid)
                run_load(server, Load(), 3000, len(server.get()[1]))
                loaded = pss_kib(server.pid)
                server.stop()
                first = median_spread(firsts)
                results[f"{site}, {workers} workers, {peer.name}"] = {
                    "idle_kib": idle,
                    "loaded_kib": loaded,
                    "first_ms": [f * 1000 for f in first],
                }
                say(
                    f"  {site}, {workers} workers: {peer.name:22} {idle / 1024:6.1f} MiB idle,"
                    f" {loaded / 1024:6.1f} MiB after load, first answer {first[0] * 1000:5.0f} ms"
                )
    return results


def _hold(port, tls, n):
    """Connections on which one request was answered, and which are kept."""
    held, context, end = [], insecure(), time.monotonic() + PATIENCE
    for _ in range(n):
        if time.monotonic() > end:
            raise Trouble(f"only {len(held)} connections in {PATIENCE} s")
        s = socket.create_connection(("127.0.0.1", port), timeout=20)
        if tls:
            s = context.wrap_socket(s)
        s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if not s.recv(65536).startswith(b"HTTP/1.1 200"):
            raise Trouble("no answer on one of the idle connections")
        held.append(s)
    return held


def _closed(held):
    """How many of these connections the server has ended."""
    poll = select.poll()
    for s in held:
        poll.register(s, select.POLLRDHUP)  # not POLLIN: a TLS ticket may have come
    return len(poll.poll(0))


def idle_connections(place, peers, say):
    """PSS a connection, of the server's processes, when many do nothing."""
    results = {}
    for tls in (False, True):
        for peer in peers:
            workload = Workload("idle", "", tls=tls, idle=IDLE)
            started = _started(place, peer, workload, say)
            if not started:
                continue
            server, _ = started
            held = []
            try:
                for s in _hold(server.port, tls, 50):
                    s.close()
                before = pss_kib(server.pid)
                held = _hold(server.port, tls, IDLE)
                each = (pss_kib(server.pid) - before) * 1024 / IDLE
                closed = _closed(held)
                if closed:
                    raise Trouble(f"it has closed {closed} of them meanwhile")
                results[f"{peer.name}{', TLS' if tls else ''}"] = each
                say(f"  {IDLE} idle connections{', TLS' if tls else ''}: {peer.name:22} {each:8.0f} bytes each")
            except (Trouble, OSError) as error:
                say(f"  {IDLE} idle connections{', TLS' if tls else ''}: {peer.name}: {error}")
            finally:
                for s in held:
                    s.close()
                server.stop()
    return results


def _connections(server, kind, seconds):
    """Processor time each, connections a second, and the part that was resumed; None if there was no connection."""
    before, begin = cpu_seconds(server.pid), time.monotonic()
    done = subprocess.run(
        ["openssl", "s_time", "-connect", f"127.0.0.1:{server.port}", kind, "-www", "/", "-time", str(seconds)],
        capture_output=True,
        text=True,
        check=False,
    )
    used, took = cpu_seconds(server.pid) - before, time.monotonic() - begin
    each = re.search(r"^[r*]+", done.stdout, re.M)  # a letter for each
    if not each:
        return None
    count = len(each[0])
    return used / count * 1e6, count / took, each[0].count("r") / count


def handshakes(place, peers, say, rounds=5, seconds=2):
    """Connections with a full handshake, and such as resume a session, one request on each, by openssl's s_time."""
    servers, results = [], {}
    try:
        for peer in peers:
            started = _started(place, peer, Workload("handshakes", "", tls=True), say)
            servers += started[:1] if started else []
        for kind, option in ("full", "-new"), ("resumed", "-reuse"):
            found = {}
            for _ in range(rounds):
                for server in servers:
                    measured = _connections(server, option, seconds)
                    if measured:
                        found.setdefault(server.name, []).append(measured)
            for name, measured in found.items():
                cpu, rate, resumed = (median_spread(each)[0] for each in zip(*measured))
                results.setdefault(name, {})[kind] = {"cpu_us": cpu, "rate": rate, "resumed": resumed}
                say(f"  {kind} handshakes: {name:22} {cpu:8.1f} µs cpu  {rate:6.0f}/s  {resumed:.0%} resumed")
    finally:
        for server in servers:
            server.stop()
    return results


def reload_under_load(place, peers, say, reloads=5):
    """Requests that fail while the server is told to reload, a second apart."""
    results = {}
    for peer in (Cwsgi(), Gunicorn("sync"), Gunicorn("gthread")):
        started = _started(place, peer, Workload("reload", "", "flask_hello:app", workers=2), say)
        if not started:
            continue
        server, _ = started
        counts, end = {"answered": 0, "failed": 0}, threading.Event()

        def ask():
            while not end.is_set():
                try:
                    counts["answered" if server.get()[0] == 200 else "failed"] += 1
                except (OSError, http.client.HTTPException):
                    counts["failed"] += 1

        client = threading.Thread(target=ask)
        client.start()
        for _ in range(reloads):
            time.sleep(1)
            os.kill(server.pid, signal.SIGHUP)
        time.sleep(1)
        end.set()
        client.join()
        server.stop()
        results[peer.name] = counts
        say(f"  {reloads} reloads under load: {peer.name:22} {counts}")
    return results


def soak(place, minutes, say):
    """A Flask site under load: PSS of the tree, every half minute."""
    server = Cwsgi().server(place, Workload("soak", "", "flask_hello:app", workers=3)).start()
    end, total = time.monotonic() + minutes * 60, 0
    try:
        _, answer = server.wait()
        while time.monotonic() < end:
            turn = time.monotonic() + 30
            while time.monotonic() < turn:
                total += run_load(server, Load(), 20_000, len(answer)).requests
            say(f"  {total:9} requests: {pss_kib(server.pid) / 1024:6.1f} MiB")
    finally:
        server.stop()


PARTS = {
    "footprint": footprint,
    "idle": idle_connections,
    "handshakes": handshakes,
    "reload": reload_under_load,
}

"""bench.py - cwsgi beside every other WSGI server that can be had, on the same applications, in interleaved rounds.

For each workload all servers are started and asked once; then, in every round, each is put under the same load in a
random order. What counts is processor time (user and system, of the whole process tree) per request. All figures go to
a JSON file, from which report.py makes docs/performance.md."""

import argparse
import json
import os
import platform
import random
import re
import resource
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import memory
from measure import Trouble, median_spread, run_load
from peers import HERE, PEERS, Cwsgi, Place
from workloads import WORKLOADS

FILE_SIZE = 10 * 1024 * 1024
BODY_SIZE = 64 * 1024


def say(text):
    print(text, flush=True)


def prepare(folder):
    folder.chmod(0o755)
    (folder / "file").write_bytes(os.urandom(FILE_SIZE))
    (folder / "body").write_bytes(os.urandom(BODY_SIZE))
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    key.chmod(0o644)
    return cert, key


def count_for(server, load, length, seconds):
    """How many requests take about `seconds`."""
    count = max(load.connections, 32)
    for _ in range(3):
        done = run_load(server, load, count, length)
        wanted = int(count * seconds / done.seconds)
        if wanted < 2 * count:
            break
        count = min(wanted, 20 * count)
    return max(min(wanted, 200_000), load.connections)


def alone(place, workload, body):
    count = {"megabyte": 20_000, "file": 30, "pieces": 5_000, "echo": 20_000, "sleep": 50}
    argv = [sys.executable, HERE / "alone.py", workload.app, str(count.get(workload.key.split("-")[0], 3_000))]
    argv += [str(body)] if body else []
    done = subprocess.run(argv, env=place.env, capture_output=True, text=True, check=True)
    return float(done.stdout)


def give_up(server, workload, trouble, skipped):
    server.stop()
    skipped[f"{server.name}: {workload.key}"] = str(trouble).splitlines()[0]
    say(f"    {trouble}")


def start_all(place, workload, peers, body, skipped):
    """The servers that answer, and the length of the answer, which must be the same for all."""
    running, expected = [], None
    for peer in peers:
        reason = peer.missing(place)
        if reason:
            skipped[peer.name] = reason
        if peer.name in skipped or not peer.suits(workload):
            continue
        server = peer.server(place, workload).start()
        try:
            status, answer = server.wait(body)
        except Trouble as trouble:  # it will not do so with another application either
            give_up(server, workload, trouble, skipped)
            skipped[peer.name] = skipped.pop(f"{peer.name}: {workload.key}")
            continue
        try:
            if status != 200 or (expected is not None and answer != expected):
                raise Trouble(f"{peer.name} gives another answer: {status}, {len(answer)} bytes\n{server.said()}")
            expected = answer if expected is None else expected
            running.append(server)
        except Trouble as trouble:
            give_up(server, workload, trouble, skipped)
    return running, len(expected) if expected is not None else 0


def measure(place, workload, peers, options, skipped):
    load = workload.load
    body = None
    if load.post:
        load.post = place.folder / "body"
        body = load.post.read_bytes()
    servers, length = start_all(place, workload, peers, body, skipped)
    rounds = {server.name: [] for server in servers}
    rounds["application alone"] = []
    counts = {}
    try:
        for server in servers:
            try:
                counts[server.name] = count_for(server, load, length, options.seconds)
            except Trouble as trouble:
                give_up(server, workload, trouble, skipped)
        for _ in range(options.rounds):
            order = [*(s for s in servers if s.name in counts), None]
            random.shuffle(order)
            for server in order:
                if server is None:
                    rounds["application alone"].append({"cpu_us": alone(place, workload, load.post)})
                    continue
                try:
                    done = run_load(server, load, counts[server.name], length)
                except Trouble as trouble:
                    del rounds[server.name]
                    del counts[server.name]
                    give_up(server, workload, trouble, skipped)
                    continue
                rounds[server.name].append(
                    {"cpu_us": done.cpu_us, "rate": done.rate, "p50_us": done.p50_us, "p99_us": done.p99_us}
                )
    finally:
        for server in servers:
            server.stop()
    return {
        name: {key: median_spread([r[key] for r in all_rounds]) for key in all_rounds[0]}
        for name, all_rounds in rounds.items()
        if all_rounds
    }


def show(workload, figures, competitors):
    rivals = {n: f["cpu_us"][0] for n, f in figures.items() if n in competitors}
    best = min(rivals, key=rivals.get) if rivals else None
    say(f"{workload.title}")
    for name, f in sorted(figures.items(), key=lambda item: item[1]["cpu_us"][0]):
        cpu, low, high = f["cpu_us"]
        line = f"  {name:22} {cpu:9.1f} µs cpu ({low:.1f}..{high:.1f})"
        if "rate" in f:
            line += f" {f['rate'][0]:9.0f}/s  p50 {f['p50_us'][0]:7.0f} µs  p99 {f['p99_us'][0]:7.0f} µs"
        if name == "cwsgi" and best:
            line += f"   {cpu / rivals[best]:.2f} of {best}"
        say(line)


def versions(place):
    found = {}
    for name in ("gunicorn", "granian", "fastpysgi", "fastwsgi", "bjoern", "uwsgi", "mod_wsgi", "waitress", "cheroot"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    cwsgi = subprocess.run([place.build / "cwsgi", "--version"], capture_output=True, text=True, check=True)
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "machine": f"{os.cpu_count()} × {model[1] if model else platform.machine()}, Linux {platform.release()}",
        "python": platform.python_version(),
        "cwsgi": cwsgi.stdout.strip(),
        **found,
    }


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5, help="rounds a workload (5)")
    parser.add_argument("--seconds", type=float, default=0.7, help="how long a round lasts for each server (0.7)")
    parser.add_argument("--only", default="", help="workloads whose key matches this regular expression")
    parser.add_argument("--peers", default="", help="servers whose name matches this regular expression")
    parser.add_argument("--parts", default="rates," + ",".join(memory.PARTS), help="what to measure (%(default)s)")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="only this: memory under load for so long")
    parser.add_argument("--json", type=Path, required=True, help="where the figures go, beside those of earlier runs")
    return parser.parse_args()


def main():
    options = parse_arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    peers = [p for p in PEERS if re.search(options.peers, p.name)]
    workloads = [w for w in WORKLOADS if re.search(options.only, w.key)]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        place = Place(options.build, folder, *prepare(folder))
        if options.soak:
            memory.soak(place, options.soak, say)
            return
        results = json.loads(options.json.read_text()) if options.json.exists() else {"workloads": {}, "skipped": {}}
        results["versions"] = versions(place)
        competitors = {p.name for p in PEERS if p.python and not isinstance(p, Cwsgi)}
        parts = options.parts.split(",")
        for workload in workloads if "rates" in parts else []:
            figures = measure(place, workload, peers, options, results["skipped"])
            results["workloads"][workload.key] = {"title": workload.title, "figures": figures}
            show(workload, figures, competitors)
            options.json.write_text(json.dumps(results, indent=1) + "\n")
        for part in memory.PARTS:
            if part in parts:
                results[part] = memory.PARTS[part](place, peers, say)
                options.json.write_text(json.dumps(results, indent=1) + "\n")
        for name, reason in results["skipped"].items():
            say(f"left out: {name}: {reason}")


if __name__ == "__main__":
    main()

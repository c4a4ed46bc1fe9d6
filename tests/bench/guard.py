"""guard.py - instructions that a worker executes per request, counted by callgrind: hello, a POST, hello over TLS.

Prints the change against the figures kept in guard.json; --keep writes them anew. The counts hold on a busy machine, and
differ by about one in a hundred from run to run; with another compiler, Python or OpenSSL they are others."""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

from bench import prepare
from measure import Load, Server, free_port, run_load
from peers import HERE, Place

KEPT = HERE / "guard.json"
REQUESTS = 2000
CASES = {
    "hello": ("plain:hello", False, False),
    "POST, 64 KiB": ("plain:echo", False, True),
    "hello, TLS": ("plain:hello", True, False),
}


def executed(place, app, tls, post, requests):
    """Instructions of the worker from its start to its end, with so many requests."""
    port = free_port()
    out = place.folder / "callgrind"
    argv = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}.%p", place.build / "cwsgi"]
    argv += ["-b", f"127.0.0.1:{port}", "--keep-alive", "60", "--timeout", "0"]
    argv += ["--certfile", place.cert, "--keyfile", place.key] if tls else []
    server = Server("cwsgi", [*map(str, argv), app], port, tls, place.env, place.folder).start()
    body = place.folder / "body" if post else None
    try:
        _, answer = server.wait(body.read_bytes() if body else None, pause=0.5)
        run_load(server, Load(connections=1, post=body), requests, len(answer))
    finally:
        server.process.terminate()
        server.process.wait(60)
        server.stop()
    totals = []
    for file in place.folder.glob("callgrind.*"):
        totals.append(int(re.search(r"^(?:summary|totals): (\d+)", file.read_text(), re.M)[1]))
        file.unlink()
    return sum(totals)


def main():
    parser = argparse.ArgumentParser(prog="make bench-guard", description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help="these are the figures to compare with from now on")
    options = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Place(options.build, folder, *prepare(Path(folder)))
        for name, case in CASES.items():
            few, many = (executed(place, *case, n) for n in (REQUESTS, 2 * REQUESTS))
            found[name] = (many - few) // REQUESTS
            change = f"{found[name] / kept[name] - 1:+.1%}" if name in kept else "nothing to compare with"
            print(f"{name:14} {found[name]:8} instructions a request   {change}", flush=True)
    if options.keep:
        KEPT.write_text(json.dumps(found, indent=1) + "\n")


main()

"""Many reloads under load: no request fails, and nothing is left behind: no descriptor, no process, no memory.

The suite does a few; CWSGI_TEST_RELOADS=200 does as many and prints the figures."""

import os
import statistics
import time
from pathlib import Path

import pytest

from harness import Load, in_session, ours, wait_until
from wire import Broken

RELOADS = int(os.environ.get("CWSGI_TEST_RELOADS", "8"))
BROKEN_EVERY = 10  # a release that does not load


def write_release(folder, text, broken=False):
    (folder / "release.py").write_text(
        f"text = b'{text}'\n{'raise RuntimeError' if broken else ''}\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [text]\n" + "#" * (int(text) % 97)
    )


def ask(server):
    reply = server.get("/", "Connection: close")
    assert reply.status == 200
    return int(reply.text)


def converse(server):
    """On a connection that is kept: it may be closed between two requests, and never in the middle of one."""
    with server.connect() as c:
        for n in range(20):
            try:
                reply = c.get("/")
            except (Broken, ConnectionResetError):
                assert n > 0 and c.closed(), "a request on a new connection is answered"
                break
            assert reply.status == 200
            if reply["Connection"] == "close":
                break
    return int(reply.text)


def descriptors(pid):
    """What they are, without the numbers of pipes and sockets."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(fd).partition(":[")[0])
        except OSError:
            continue  # it was closed meanwhile
    return sorted(found)


def private_kib(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


@ours
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["plain", "preload"])
def test_many_reloads_under_load(server, tmp_path, certificate, preload, capsys):
    folder = tmp_path / "site"
    folder.mkdir()
    write_release(folder, "0")
    s = server("release:app", "-w", "2", *preload, "--log-file", "server.log", tls=certificate, folder=folder)
    s.tracebacks_expected = True
    s.ready_workers(2)
    files, sizes, taken = [], [], []

    def settle():
        wait_until(lambda: len(in_session(s.pid)) == 3, "there are the master and two workers")
        s.ready_workers(2)
        files.append(descriptors(s.pid))
        sizes.append(private_kib(s.pid))

    with Load(s, 2, ask) as fresh, Load(s, 2, converse) as kept:
        fresh.wait_replies(10)
        for n in range(1, RELOADS + 1):
            begin = time.monotonic()
            refusals = s.log().count("Reload refused")
            if n % BROKEN_EVERY == BROKEN_EVERY - 2:
                write_release(folder, f"{n}", broken=True)
                s.signal("HUP")
                wait_until(lambda before=refusals: s.log().count("Reload refused") > before, "it is refused")
                continue
            old = set(s.children())
            write_release(folder, f"{n}")
            s.signal("HUP")
            wait_until(lambda old=old: len(now := set(s.children())) == 2 and not now & old, "all workers are new")
            taken.append(time.monotonic() - begin)
            wait_until(lambda n=n: ask(s) == n, "the new release answers")
            settle()
    assert fresh.failures == [] and kept.failures == []
    # The first image had standard streams and files of its own; from the second on nothing is added.
    assert files[-1] == files[0], "no descriptor is left over"
    early, late = (statistics.median(part) for part in (sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]))
    assert late < early * 1.05 + 256, f"the master grows: {sizes}"
    with capsys.disabled():
        print(
            f"\n[{RELOADS} reloads: {len(fresh.replies) + len(kept.replies)} answers, 0 failed; master: {len(files[-1])} "
            f"descriptors, {sizes[0]} KiB of its own after the first, {sizes[-1]} KiB after the last; "
            f"a reload takes {statistics.median(taken) * 1000:.0f} ms]",
            end="",
        )

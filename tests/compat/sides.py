"""Runs the same scenario on gunicorn and on cwsgi, and compares what was seen.

What differs on purpose has a name in docs/migrating-from-gunicorn.md. A comparison says which of them it expects; an
unexpected difference fails it, and so does an expected one that is not seen any more."""

import os
import re
import signal
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import harness
from harness import REPO, catches, environment, wait_until

PAGE = REPO / "docs" / "migrating-from-gunicorn.md"

Both = namedtuple("Both", "gunicorn cwsgi")


def rows():
    """The table under "On purpose", without its head."""
    section = PAGE.read_text().split("\n## On purpose\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def documented():
    """The names: first cells of the rows."""
    return {row[0].replace("`", "") for row in rows()}


@dataclass
class Side:
    """One of the two, with a folder of its own."""

    name: str
    exe: str
    folder: Path
    start: Callable  # the fixture `server`

    def env(self, **changes):
        # gunicorn's control socket is in the home directory: two servers would take it from each other.
        return environment(HOME=str(self.folder), **changes)

    def run(self, *args, cwd=None, env=None):
        """The process, ended."""
        return harness.run(*map(str, args), exe=self.exe, cwd=cwd or self.folder, env=self.env(**(env or {})))

    def server(self, app, *args, config=None, env=None, **options):
        """A server in our folder."""
        if config is not None:
            (self.folder / "gunicorn.conf.py").write_text(config)
        s = self.start(app, "--no-control-socket", *args, exe=self.exe, env=self.env(**(env or {})),
                       folder=self.folder, **options)  # fmt: skip
        if self.name == "gunicorn":
            s.tracebacks_expected = True  # it is not gunicorn that is on trial
        return s


def on_both(sides, scenario):
    """Its result on each side, at the same time."""
    with ThreadPoolExecutor(len(sides)) as pool:
        return Both(*[f.result() for f in [pool.submit(scenario, side) for side in sides]])


# What was seen, compared.


def same(seen, **differences):
    """Two dicts of facts: equal, but for those facts that are named, each with the name of the difference."""
    theirs, ours = seen
    different = {f for f in {*theirs, *ours} if theirs.get(f) != ours.get(f)}
    unknown = {f: (theirs.get(f), ours.get(f)) for f in different - set(differences)}
    assert not unknown, f"differ without being expected to (gunicorn, cwsgi): {unknown}"
    gone = set(differences) - different
    assert not gone, f"do not differ any more: {({f: theirs.get(f) for f in gone})}"
    must_be_documented(differences.values())


def same_lines(seen, gunicorn=None, cwsgi=None):
    """Two lists of lines: equal, but for those that only one side has; these are given with the name of the
    difference."""
    only = Both(gunicorn or {}, cwsgi or {})
    for lines, extra in zip(seen, only):
        assert set(extra) <= set(lines), f"expected, but not seen: {set(extra) - set(lines)}, in {lines}"
    theirs, ours = ([line for line in lines if line not in extra] for lines, extra in zip(seen, only))
    assert ours == theirs
    must_be_documented([*only.gunicorn.values(), *only.cwsgi.values()])


def must_be_documented(names):
    missing = set(names) - documented()
    assert not missing, f"not in {PAGE.name}: {missing}"


# The server log, without what is different in every run.

LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] \[(\d+)\] \[(\w+)\] (.*)")


def log_lines(server, who=None):
    """(pid, "LEVEL text") of each line; numbers and the product's name are the same on both sides."""
    for line in server.log().splitlines():
        if m := LINE.fullmatch(line):
            pid, level, text = m.groups()
            text = re.sub(r"\b(gunicorn|cwsgi) \d+\.\d+\S*", "PRODUCT VERSION", text)
            text = re.sub(rf":{server.port}\b", ":PORT", text)
            text = re.sub(r"(pid: ?|\()(\d+)\)", r"\1PID)", text)
            text = re.sub(r"pid: \d+$", "pid: PID", text)
            yield int(pid), f"{level} {text.replace(str(server.dir), 'DIR')}"


def master_lines(server, pid=None):
    return [text for p, text in log_lines(server) if p == (pid or server.pid)]


def worker_lines(server):
    """Of each worker, in the order of their first lines."""
    workers = {}
    for pid, text in log_lines(server):
        if pid != server.pid:
            workers.setdefault(pid, []).append(text)
    return list(workers.values())


def wait_until_told(workers):
    """Until they catch the signals that end them in order."""
    wait_until(lambda: all(catches(pid, signal.SIGQUIT) for pid in workers), f"{workers} can be told to go")


def exists(path):
    return os.path.lexists(path)

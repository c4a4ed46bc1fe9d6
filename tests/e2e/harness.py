"""Starts the real binary in a folder of its own, looks at it from outside, and puts it away again."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from wire import Connection, Reply

TESTS = Path(__file__).resolve().parent.parent
REPO = TESTS.parent
APPS = TESTS / "apps"
BINARY = os.path.abspath(os.environ.get("CWSGI") or REPO / "build" / "cwsgi")
IS_GUNICORN = os.path.basename(BINARY) == "gunicorn"
SANITIZED = b"libasan" in subprocess.run(["ldd", BINARY], capture_output=True, check=False).stdout
PRODUCT = "gunicorn" if IS_GUNICORN else "cwsgi"
SLOW = float(os.environ.get("CWSGI_TEST_SLOW", "1"))
BOUND = 30 * SLOW  # how long anything may take before it counts as hanging; no test is decided by it otherwise
EXTRA_ARGS = os.environ.get("CWSGI_TEST_ARGS", "").split()
THREADED = "--threads" in EXTRA_ARGS
WORKER_CLASS = "gthread" if THREADED else "sync"

ours = pytest.mark.ours

# What would lead the server to another configuration or environment than the test says.
STRAY_VARIABLES = (
    "CWSGI CWSGI_CMD_ARGS FORWARDED_ALLOW_IPS GUNICORN_CMD_ARGS PORT PYTHONHOME PYTHONPATH PYTHONSTARTUP"
    " SCRIPT_NAME SENDFILE VIRTUAL_ENV WEB_CONCURRENCY LD_PRELOAD COLUMNS LINES"
).split()
REPORTS = (
    "runtime error:",
    "AddressSanitizer",
    "LeakSanitizer",
    "ThreadSanitizer",
    "Fatal Python error",
    "Assertion `",
    "was sent SIGSEGV",
    "was sent SIGBUS",
)


def environment(**changes):
    env = {k: v for k, v in os.environ.items() if k not in STRAY_VARIABLES}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    # Set here and not by the caller, so that a plain `pytest` is right for every kind of build.
    sanitizers = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:use_sigaltstack=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
    suppressions = TESTS / "lsan.supp"
    if suppressions.exists():
        sanitizers["LSAN_OPTIONS"] = f"suppressions={suppressions}:print_suppressions=0"
    for name, value in sanitizers.items():
        env[name] = ":".join(filter(None, [value, env.get(name)]))
    env.update(changes)
    return {k: v for k, v in env.items() if v is not None}


def at_home(folder, env):
    """Control sockets lie in the home: that of who runs the tests has enough of its own."""
    return {**env, "HOME": str(folder)} if env.get("HOME") == os.environ.get("HOME") else env


def wait_until(true, what, bound=None):
    end = time.monotonic() + (bound or BOUND)
    pause = 0.005
    while not (result := true()):
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(pause)
        pause = min(1.25 * pause, 0.025)  # who looks all the time takes it from the server
    return result


# Names of sockets that say which ports were given away last, to whoever runs these tests on this machine.
_given = deque(maxlen=50)


def free_port():
    """A port that nobody listens on, outside the range that the kernel gives to clients, and that no other process of
    tests gets until its server has had the time to listen."""
    while True:
        port = random.randrange(15000, 32000)
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0port {port} of a test of cwsgi")
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind(("0.0.0.0", port))
        except OSError:
            mark.close()
            continue
        _given.append(mark)
        return port


NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLMSG_DONE = 4, 20, 3
REQUEST_AND_DUMP = 0x301
LISTEN = 10


def listening(port):
    """Asks the kernel, since a trial connection would be one request more for the server."""
    return any(_listening(port, family) for family in (socket.AF_INET, socket.AF_INET6))


def _listening(port, family):
    # Not by reading /proc/net/tcp alone: that takes a tenth of a second where tests have left connections behind.
    asked = struct.pack("=BBxxIHH44x", family, socket.IPPROTO_TCP, 1 << LISTEN, socket.htons(port), 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(asked), SOCK_DIAG_BY_FAMILY, REQUEST_AND_DUMP, 0, 0) + asked)
        _, kind = struct.unpack_from("=IH", kernel.recv(1 << 16))
    if kind in (SOCK_DIAG_BY_FAMILY, NLMSG_DONE):
        return kind == SOCK_DIAG_BY_FAMILY
    # A kernel that does not tell.
    table = Path("/proc/net/tcp6" if family == socket.AF_INET6 else "/proc/net/tcp")
    entry = re.compile(rf"^\s*\d+: [0-9A-F]+:{port:04X} \S+ {LISTEN:02X} ", re.MULTILINE)
    return table.exists() and bool(entry.search(table.read_text()))


def ipv6_or_skip():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("there is no IPv6 here")


def processes():
    """(pid, parent, session, state) of every process."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue  # it ended while we looked
            state, parent, _, session = stat.rpartition(")")[2].split()[:4]
            yield int(entry), int(parent), int(session), state


def alive(pid):
    return any(p == pid and state != "Z" for p, _, _, state in processes())


def children_of(pid):
    return sorted(p for p, parent, _, state in processes() if parent == pid and state != "Z")


def in_session(session):
    return [pid for pid, _, s, state in processes() if s == session and state != "Z"]


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
    except OSError:
        return ""


def has_loop(pid):
    """A worker of cwsgi makes its event loop after it has loaded the application."""
    try:
        return any(os.readlink(fd) == "anon_inode:[eventpoll]" for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def catches(pid, number):
    try:
        caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]
    except OSError:
        return False
    return bool(int(caught, 16) >> (number - 1) & 1)


def serves(pid):
    """A worker that has opened all that it opens sees to signals, and next says that it is ready."""
    return has_loop(pid) and catches(pid, signal.SIGQUIT)


def limited(folder, *commands):
    """The binary, started by a shell after these commands."""
    path = folder / "limited"
    path.write_text("\n".join(["#!/bin/sh -e", *commands, f'exec {BINARY} "$@"', ""]))
    path.chmod(0o755)
    return str(path)


# One of these commands: what those behind it mount is there for the server alone.
APART = 'test -n "$APART" || APART=1 exec unshare -m "$0" "$@"\nmount --make-rprivate /'
may_mount = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root can mount")


def run(*args, cwd=None, env=None, exe=BINARY, **options):
    """Runs the binary to its end: for what never serves."""
    return subprocess.run(
        [exe, *args], cwd=cwd, env=env or environment(), text=True, capture_output=True, timeout=BOUND, **options
    )


class Server:
    live = []  # those whose logs are shown when a test fails

    def __init__(self, folder, app, *args, exe=BINARY, env=None, port=None, host="127.0.0.1", tls=None, wait=True):
        self.dir = Path(folder)
        self.is_gunicorn = os.path.basename(exe) == "gunicorn"
        self.port = port or free_port()
        self.tls = tls
        self.tracebacks_expected = False  # set by tests that make the application fail
        self.status_expected = 0  # None: the test has seen to it
        self.access_path = self.dir / "access.log"
        self.stderr_path = self.dir / "stderr.txt"
        self.calls_path = self.dir / "calls.txt"
        argv = [exe]
        if host:  # None: the configuration file says where
            argv += ["-b", f"{host}:{self.port}"]
        if "--access-logfile" not in args:
            argv += ["--access-logfile", str(self.access_path)]
        if tls:
            argv += ["--certfile", str(tls.cert), "--keyfile", str(tls.key)]
        argv += [*EXTRA_ARGS, *map(str, args)]
        argv += [app] if app else []
        with open(self.dir / "stdout.txt", "ab") as out, open(self.stderr_path, "ab") as err:
            self.process = subprocess.Popen(
                argv,
                cwd=self.dir,
                env=at_home(self.dir, env or environment()),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self.pid = self.process.pid
        Server.live.append(self)
        if wait:  # for workers, too: those it has once it listens at each address, and has its control socket
            wait_until(lambda: self.process.poll() is not None or listening(self.port) and self.children(), "it serves")
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log()}"

    # Looking at it.

    def log(self):
        """Everything that it has said, wherever the log went."""
        files = [self.stderr_path, *sorted(self.dir.glob("server*.log*")), *sorted(self.dir.glob("logs/server*.log*"))]
        return "".join(f.read_text(errors="replace") for f in files if f.is_file())

    def wait_log(self, text):
        wait_until(lambda: text in self.log(), f"the log has {text!r}")

    def access(self, path=None):
        file = Path(path or self.access_path)
        return file.read_text().splitlines() if file.exists() else []

    def wait_access(self, pattern, count=1):
        """The lines that match, once there are that many: a line is written after its response was."""
        return wait_until(
            lambda: (m := [a for a in self.access() if re.search(pattern, a)]) and len(m) >= count and m,
            f"the access log has {pattern!r}, {count} times",
        )

    def calls(self):
        """What the application was called for: "pid METHOD target" lines of apps/probe.py."""
        return self.calls_path.read_text().splitlines() if self.calls_path.exists() else []

    def wait_call(self, text):
        wait_until(lambda: any(text in c for c in self.calls()), f"the application was called for {text!r}")

    def children(self):
        return children_of(self.pid)

    def workers(self, n):
        """Their pids, once there are exactly `n`."""
        return wait_until(lambda: (c := self.children()) and len(c) == n and c, f"there are {n} workers")

    def ready_workers(self, n):
        """The same, once each is ready; looked up anew each time, since they come and go."""

        def ready():
            pids = self.children()
            return len(pids) == n and (self.is_gunicorn or all(map(serves, pids))) and pids

        return wait_until(ready, f"{n} workers serve")

    # Talking to it.

    def connect(self, timeout=None, rcvbuf=None):
        sock = socket.socket()
        sock.settimeout(timeout or BOUND)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.connect(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            sock = self.tls.client.wrap_socket(sock, server_hostname="localhost")
        return Connection(sock)

    def request(self, method, path, headers=(), body=None, version="HTTP/1.1"):
        with self.connect() as c:
            return c.request(method, path, headers, body, version)

    def get(self, path="/", *headers) -> Reply:
        return self.request("GET", path, headers)

    def send_raw(self, data):
        """Everything that comes back until the server closes."""
        with self.connect() as c:
            c.send(data)
            return c.take_rest()

    def background(self, method, *args, **kwargs):
        """self.<method>(...) on another thread: a future."""
        pool = ThreadPoolExecutor(1)
        future = pool.submit(getattr(self, method), *args, **kwargs)
        pool.shutdown(wait=False)
        return future

    def url(self, path="/"):
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}{path}"

    # Ending it.

    def signal(self, name):
        os.kill(self.pid, getattr(signal, "SIG" + name))

    def wait(self):
        return self.process.wait(timeout=BOUND)

    def stop(self, name="TERM"):
        """Its exit status."""
        if self.process.poll() is None:
            self.signal(name)
        return self.wait()

    def kill_all(self):
        for pid in in_session(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def close(self):
        """Teardown: stops it if the test has not, and fails if it leaves anything behind."""
        faults = []
        on_trial = self.is_gunicorn == IS_GUNICORN
        if not on_trial:  # gunicorn loses a TERM that comes while its workers start
            self.kill_all()
        try:
            status = self.stop()
            if on_trial and self.status_expected is not None and status != self.status_expected:
                faults.append(f"exit status {status}")
            wait_until(lambda: not in_session(self.pid), "its processes are gone", 5 * SLOW)
        except (AssertionError, subprocess.TimeoutExpired) as e:
            faults.append(f"{e}: {[(p, command(p)) for p in in_session(self.pid)]}")
            self.kill_all()
        finally:
            Server.live.remove(self)
        log = self.log()
        bad = REPORTS if self.tracebacks_expected else (*REPORTS, "Traceback")
        faults += [f"the log has {text!r}" for text in bad if text in log]
        assert not faults, f"{'; '.join(faults)}\n{log}"


class Certificate:
    """A self-signed certificate for localhost, made by openssl, and a client that trusts nothing else."""

    def __init__(self, folder, name="localhost"):
        self.cert, self.key = Path(folder) / f"{name}.crt", Path(folder) / f"{name}.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            + ["-days", "30", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
            + ["-keyout", str(self.key), "-out", str(self.cert)],
            check=True,
            capture_output=True,
        )
        self.client = ssl.create_default_context(cafile=str(self.cert))


class Load:
    """Threads that send requests without a pause and note every failure."""

    def __init__(self, server, threads, one_round):
        self.server, self.failures, self.replies = server, [], []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(one_round,)) for _ in range(threads)]

    def _run(self, one_round):
        while not self.stopping.is_set():
            try:
                self.replies.append(one_round(self.server))
            except Exception as e:  # whatever went wrong is for the test to judge
                self.failures.append(repr(e))

    def wait_replies(self, n):
        """Until `n` more have come."""
        target = len(self.replies) + n
        wait_until(lambda: len(self.replies) >= target or len(self.failures) > 100, f"{n} more replies come")

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for t in self.threads:
            t.join(BOUND)


def folder_with_apps(folder):
    shutil.copytree(APPS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder

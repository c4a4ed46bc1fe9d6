"""Listening: unix sockets, inherited descriptors, several addresses, one port for several servers."""

import os
import re
import socket
import subprocess

from harness import BOUND, free_port, wait_until
from sides import Both, exists, same
from wire import Connection

READY = "def post_worker_init(worker):\n    worker.log.info('ready')\n"


def ask(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family)
    sock.settimeout(BOUND)
    sock.connect(address)
    with Connection(sock) as c:
        return c.get("/", "Host: x", "Connection: close").status


def listening_at(server):
    (urls,) = re.findall(r"Listening at: (\S+) ", server.log())
    return re.sub(r":\d{4,5}\b", ":PORT", urls.replace(str(server.dir), "DIR"))


def test_unix_sockets(both):
    def scenario(side):
        facts = {}
        for mask in ("0", "007", "0o177"):
            s = side.server("hello:app", "-b", "unix:x.sock", "-b", f"unix:{side.folder}/y.sock", "-m", mask, config=READY)
            s.wait_log("] ready")
            mode = (side.folder / "x.sock").stat().st_mode
            facts[mask] = oct(mode), listening_at(s), ask(str(side.folder / "y.sock"))
            s.stop()
            facts[f"{mask}, left"] = exists(side.folder / "x.sock"), exists(side.folder / "y.sock")
            s.stderr_path.unlink()
        return facts

    same(both(scenario))


def test_unix_socket_of_a_server_that_was_killed_is_replaced(both):
    def scenario(side):
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(side.folder / "x.sock"))
        s = side.server("hello:app", "-b", "unix:x.sock", config=READY)
        s.wait_log("] ready")
        status = ask(str(side.folder / "x.sock"))
        s.stop()
        return {"status": status, "left": exists(side.folder / "x.sock")}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi == {"status": 200, "left": False}


def test_unix_socket_of_a_server_that_lives(both):
    def scenario(side):
        path = side.folder / "x.sock"
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            other.listen()
            inode = path.stat().st_ino
            process = subprocess.Popen(
                [side.exe, "-b", "unix:x.sock", "hello:app"], cwd=side.folder, env=side.env(), stderr=subprocess.DEVNULL
            )
            wait_until(lambda: process.poll() is not None or path.stat().st_ino != inode, "it is decided")
            result = {"ended": process.poll()}
            process.terminate()
            process.wait(BOUND)
        return result

    seen = both(scenario)
    same(seen, ended="a unix socket where another server listens")
    assert seen.cwsgi == {"ended": 1}


def test_several_addresses(both):
    def scenario(side):
        more = ["-b", "localhost:0", "-b", "unix:x.sock"]
        if exists("/proc/net/if_inet6"):
            more += ["-b", "[::1]:0"]
        s = side.server("hello:app", *more, config=READY)
        s.wait_log("] ready")
        told = re.findall(r"http://(?:\[([\da-f:]+)\]|([\d.]+)):(\d+)", s.log())
        statuses = [ask((v6 or v4, int(port))) for v6, v4, port in told]
        facts = {"listening": listening_at(s), "statuses": statuses, "unix": ask(str(side.folder / "x.sock"))}
        s.stop()
        return facts

    seen = both(scenario)
    same(seen)
    assert set(seen.cwsgi["statuses"]) == {200} and seen.cwsgi["unix"] == 200


def test_inherited_descriptor(both):
    def scenario(side):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            process = subprocess.Popen(
                [side.exe, "-b", f"fd://{sock.fileno()}", "hello:app"], cwd=side.folder, env=side.env(),
                stderr=subprocess.DEVNULL, pass_fds=[sock.fileno()],
            )  # fmt: skip
            status = ask(sock.getsockname())
            process.terminate()
            return {"answer": status, "status": process.wait(BOUND)}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi == {"answer": 200, "status": 0}


def test_one_port_for_two_servers(sides):
    """--reuse-port, for both of them."""

    def scenario(side):
        folders = [side.folder / name for name in ("one", "two")]
        port = free_port()
        servers = []
        for folder in folders:
            folder.mkdir()
            (folder / "pids.py").write_text(
                "import os\n"
                "def app(environ, start_response):\n"
                "    start_response('200 OK', [('Content-Length', '7')])\n"
                "    return [b'%07d' % os.getpid()]\n"
            )
            s = side.start("pids:app", "--reuse-port", "--no-control-socket", exe=side.exe, env=side.env(), port=port,
                           folder=folder)  # fmt: skip
            servers.append(s)
        workers = {s.workers(1)[0] for s in servers}
        seen = set()
        wait_until(lambda: seen.add(int(servers[0].get("/", "Connection: close").text)) or seen == workers, "both serve")
        return {"statuses": [s.stop() for s in servers]}

    seen = Both(*map(scenario, sides))
    same(seen)
    assert seen.cwsgi == {"statuses": [0, 0]}

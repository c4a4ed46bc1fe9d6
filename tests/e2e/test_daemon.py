"""Pid file, background, umask, captured output: what a Unix daemon does to its process."""

import os
import pwd
import signal

import pytest

from harness import command, environment, free_port, listening, ours, processes, run, wait_until


def test_pid_file_lives_as_long_as_the_server(server):
    s = server("hello:app", "-p", "x.pid")
    pid_file = s.dir / "x.pid"
    assert pid_file.read_text() == f"{s.pid}\n"
    assert s.stop() == 0
    assert not pid_file.exists()


def test_pid_file_of_a_living_server_is_respected(server, folder):
    s = server("hello:app", "-p", "x.pid", folder=folder)
    done = run("-b", f"127.0.0.1:{free_port()}", "-p", "x.pid", "hello:app", cwd=folder)
    assert done.returncode == 1 and str(s.pid) in done.stderr
    assert (folder / "x.pid").read_text() == f"{s.pid}\n"


@pytest.mark.parametrize("content", ["99999999\n", "nonsense", ""])
def test_stale_pid_file_is_replaced(server, folder, content):
    (folder / "x.pid").write_text(content)
    s = server("hello:app", "-p", "x.pid", folder=folder)
    assert (folder / "x.pid").read_text() == f"{s.pid}\n"


@ours
def test_pid_that_another_process_was_given_is_no_obstacle(server, folder):
    (folder / "x.pid").write_text(f"{os.getpid()}\n")
    s = server("hello:app", "-p", "x.pid", folder=folder)
    assert (folder / "x.pid").read_text() == f"{s.pid}\n"


def test_daemon(folder):
    port = free_port()
    done = run("-D", "-b", f"127.0.0.1:{port}", "-p", "x.pid", "--log-file", "server.log", "hello:app", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_until(lambda: listening(port), "it listens")
    pid = int((folder / "x.pid").read_text())
    try:
        mine = {p: (parent, session) for p, parent, session, _ in processes() if p == pid or parent == pid}
        assert mine[pid][1] not in (pid, os.getsid(0)), "it leads no session and is not in ours"
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not command(pid), "it has ended")
    assert not (folder / "x.pid").exists()
    assert "Traceback" not in (folder / "server.log").read_text()


@ours
def test_daemon_that_cannot_start_tells_its_starter(folder):
    """Whoever ran it sees the status of what happened behind."""
    (folder / "raises.py").write_text("raise RuntimeError('no database')\n")
    done = run("-D", "-b", f"127.0.0.1:{free_port()}", "--log-file", "server.log", "raises:app", cwd=folder)
    assert done.returncode == 3
    assert "RuntimeError: no database" in done.stderr and "[INFO]" not in done.stderr
    assert "no database" in (folder / "server.log").read_text()


@pytest.mark.parametrize("given, mode", [([], 0o777), (["-m", "0077"], 0o700), (["-m", "7"], 0o770)])
def test_umask_is_that_of_sockets_alone(server, folder, given, mode):
    (folder / "mask.py").write_text(
        "import os\n"
        "def app(environ, start_response):\n"
        "    mask = os.umask(0o027)\n    os.umask(mask)\n"
        "    start_response('200 OK', [])\n    return [b'%o' % mask]\n"
    )
    before = os.umask(0o026)
    try:
        s = server("mask:app", *given, "-b", "unix:x.sock", folder=folder)
    finally:
        os.umask(before)
    assert s.get("/").text == "26"
    assert (folder / "x.sock").stat().st_mode & 0o777 == mode


@ours
@pytest.mark.parametrize("args", [["--capture-output"], ["-R"], ["--preload"]])
def test_daemon_shows_its_errors_until_it_serves(folder, args):
    (folder / "raises.py").write_text("raise RuntimeError('no database')\n")
    args = ["-D", "-p", "x.pid", "--log-file", "server.log", "-b", f"127.0.0.1:{free_port()}", *args]
    failed = run(*args, "raises:app", cwd=folder)
    assert failed.returncode == 3 and failed.stderr.count("RuntimeError: no database") == 1
    if "-R" in args:
        return  # its output stays open: run() would wait for the daemon's end
    done = run(*args, "hello:app", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int((folder / "x.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not command(pid), "it has ended")


@ours
def test_daemon_that_cannot_listen_says_so_once(server, folder):
    first = server("hello:app")
    done = run("-D", "-b", f"127.0.0.1:{first.port}", "--log-file", "server.log", "hello:app", cwd=folder)
    assert done.returncode == 1 and done.stderr.count("already in use") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start workers as another user")
def test_unix_socket_belongs_to_the_user_of_the_workers(server, folder):
    """So that a front end in their group may connect."""
    nobody = pwd.getpwnam("nobody")
    args = ["--preload", "-u", "nobody", "-g", str(nobody.pw_gid), "-m", "007", "-b", "unix:x.sock", "--access-logfile", "-"]
    s = server("hello:app", *args, folder=folder)
    s.get("/")
    stat = (folder / "x.sock").stat()
    assert (stat.st_uid, stat.st_gid, stat.st_mode & 0o777) == (nobody.pw_uid, nobody.pw_gid, 0o770)


def test_output_of_the_application_goes_where_the_servers_goes(server):
    s = server("probe:app", env=environment(PYTHONUNBUFFERED="1"))
    s.get("/errors")
    s.wait_log("printed to stderr\n")


def test_output_can_be_captured_into_the_log(server):
    s = server("probe:app", "--capture-output", "--log-file", "server.log")
    s.get("/errors")
    wait_until(lambda: "printed to stderr\n" in (s.dir / "server.log").read_text(), "the log has it")
    assert "printed" not in s.stderr_path.read_text()


def test_captured_output_follows_the_log_to_its_new_file(server):
    s = server("probe:app", "--capture-output", "--log-file", "server.log")
    (s.dir / "server.log").rename(s.dir / "server.log.1")
    s.signal("USR1")
    wait_until((s.dir / "server.log").exists, "the master has opened it again")
    (worker,) = s.children()
    new = os.stat(s.dir / "server.log").st_ino
    wait_until(lambda: all(os.stat(f"/proc/{pid}/fd/{fd}").st_ino == new for pid in (s.pid, worker) for fd in (1, 2)), "both use it")
    s.get("/errors")
    wait_until(lambda: "printed to stderr\n" in (s.dir / "server.log").read_text(), "the new file has it")

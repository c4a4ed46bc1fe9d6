"""The gate of a reload: whatever is wrong with the new release, the old one serves on, and the log says why."""

import json
import os
import signal
import subprocess

import pytest

from harness import BINARY, Certificate, Load, ours, processes, run, wait_until

APP = """
import json, os, sys
text = {text!r}
def app(environ, start_response):
    if environ["PATH_INFO"] == "/check":
        with open("checked.txt", "w") as f:
            f.write(json.dumps({{k: v for k, v in environ.items() if isinstance(v, str)}}))
        {check}
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
"""

pytestmark = ours
REAL = os.path.realpath(BINARY)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


def write(folder, text, check="pass"):
    (folder / "release.py").write_text(APP.format(text=text + "\n" * len(text), check=check))


def get_text(server):
    reply = server.get("/", "Connection: close")
    assert reply.status == 200
    return reply.text.strip()


def refused(s, old, *says):
    """HUP under load changes nothing but the log."""
    s.tracebacks_expected = True
    workers = s.children()
    refusals = s.log().count("Reload refused: ")
    with Load(s, 2, get_text) as load:
        s.signal("HUP")
        wait_until(lambda: s.log().count("Reload refused: ") > refusals, "it is refused")
        load.wait_replies(20)
    assert load.failures == [] and set(load.replies) == {old}
    assert s.workers(len(workers)) == workers
    log = s.log()
    assert [text for text in says if text not in log] == [], log


def accepted(s, new):
    s.signal("HUP")
    wait_until(lambda: get_text(s) == new, f"it answers {new}")


def test_syntax_error(server, folder):
    write(folder, "old")
    s = server("release:app", "-w", "2", "--log-file", "server.log", folder=folder)
    s.ready_workers(2)
    (folder / "release.py").write_text("def app(:\n")
    refused(s, "old", "SyntaxError", "the new release does not load (exit status 1); the old release keeps serving")
    assert "SyntaxError" in (folder / "server.log").read_text()
    write(folder, "mended")
    accepted(s, "mended")


def test_import_that_hangs(server, folder):
    write(folder, "old")
    s = server("release:app", "-t", "1", "--reload-timeout", "2", folder=folder)
    assert get_text(s) == "old"
    (folder / "release.py").write_text("import time\nwhile True:\n    time.sleep(0.1)  # for a database\n")
    refused(s, "old", "the trial of the new release takes too long", 'release.py", line 3 in <module>')


def test_bad_configuration(server, folder):
    write(folder, "old")
    (folder / "gunicorn.conf.py").write_text("workers = 2\n")
    s = server("release:app", folder=folder)
    assert get_text(s) == "old"
    s.workers(2)
    (folder / "gunicorn.conf.py").write_text("workers = 'many'\n")
    refused(s, "old", "Invalid value for workers: many")
    (folder / "gunicorn.conf.py").write_text("workers = (\n")
    refused(s, "old", "SyntaxError")
    (folder / "gunicorn.conf.py").write_text("workers = 1\n")
    s.signal("HUP")
    s.workers(1)


def test_missing_certificate(server, folder, tmp_path):
    certificate = Certificate(tmp_path)
    write(folder, "old")
    s = server("release:app", tls=certificate, folder=folder)
    assert get_text(s) == "old"
    certificate.cert.rename(tmp_path / "moved.crt")
    refused(s, "old", f"{certificate.cert}", "No such file")
    (tmp_path / "moved.crt").rename(certificate.cert)
    write(folder, "new")
    accepted(s, "new")


def test_program_that_is_gone(server, folder, tmp_path):
    write(folder, "old")
    link = tmp_path / "current"
    link.symlink_to(os.path.dirname(REAL))
    s = server("release:app", exe=str(link / os.path.basename(REAL)), folder=folder)
    assert get_text(s) == "old"
    link.unlink()
    refused(s, "old", f"can't execute {link / os.path.basename(REAL)}: No such file or directory")
    link.symlink_to(os.path.dirname(REAL))
    write(folder, "new")
    accepted(s, "new")


def test_folder_that_is_gone(server, folder, tmp_path):
    write(folder, "old")
    s = server("release:app", folder=folder)
    assert get_text(s) == "old"
    folder.rename(tmp_path / "moved")
    try:
        s.dir, s.stderr_path = tmp_path / "moved", tmp_path / "moved" / "stderr.txt"
        refused(s, "old", f"can't enter {folder}: No such file or directory")
        s.signal("USR2")
        s.wait_log(f"Can't enter {folder}: No such file or directory")
        assert get_text(s) == "old"
    finally:
        (tmp_path / "moved").rename(folder)
        s.dir, s.stderr_path = folder, folder / "stderr.txt"


# Something breaks between the trial and the reload.


LATE = "import os, sys\nif os.path.exists('broken') and '--check-config' not in sys.argv:\n    raise RuntimeError('late')\n"


def breaks_late(s, folder):
    s.tracebacks_expected = True
    (folder / "broken").touch()
    workers = s.children()
    s.signal("HUP")
    s.wait_log(f"The new release is tried again in 2 s; {len(workers)} of {len(workers)} old workers serve meanwhile")
    assert get_text(s) == "old"
    assert s.children() == workers and s.process.poll() is None


def test_new_image_that_does_not_start_is_tried_again(server, folder):
    write(folder, "old")
    (folder / "gunicorn.conf.py").write_text(LATE)
    s = server("release:app", "-w", "2", "-p", "pid", folder=folder)
    assert get_text(s) == "old"
    s.ready_workers(2)
    write(folder, "new")
    with Load(s, 2, get_text) as load:
        breaks_late(s, folder)
        load.wait_replies(20)
        (folder / "broken").unlink()
        wait_until(lambda: load.replies[-1] == "new", "it has started")
    assert load.failures == []
    assert (folder / "pid").read_text() == f"{s.pid}\n"
    write(folder, "newer")
    accepted(s, "newer")


def test_new_image_that_does_not_start_is_told_of_in_the_log_and_not_too_often(server, folder):
    write(folder, "old")
    (folder / "gunicorn.conf.py").write_text(LATE)
    s = server("release:app", "-w", "2", "--log-file", "server.log", folder=folder)
    killed, other = s.ready_workers(2)
    breaks_late(s, folder)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not any(pid == killed for pid, _, _, _ in processes()), "it is no zombie")
    log = folder / "server.log"
    wait_until(lambda: "tried again in 4 s; 1 of 2 old workers" in log.read_text(), "it is tried again more slowly")
    assert log.read_text().count("RuntimeError: late") == 2
    assert "RuntimeError: late" not in s.stderr_path.read_text()
    (folder / "broken").unlink()
    write(folder, "new")
    s.signal("HUP")
    wait_until(lambda: get_text(s) == "new", "it has started")
    assert f"Worker (pid:{killed}) was sent SIGKILL!" in log.read_text()
    wait_until(lambda: other not in s.children() and len(s.children()) == 2, "all are new")


def test_program_that_is_gone_when_it_is_tried_again(server, folder, tmp_path):
    write(folder, "old")
    (folder / "gunicorn.conf.py").write_text(LATE)
    link = tmp_path / "current"
    link.symlink_to(os.path.dirname(REAL))
    s = server("release:app", exe=str(link / os.path.basename(REAL)), folder=folder)
    s.ready_workers(1)
    breaks_late(s, folder)
    link.unlink()
    s.wait_log(f"The new release can't be tried: {link / os.path.basename(REAL)}: No such file or directory")
    assert get_text(s) == "old"
    link.symlink_to(os.path.dirname(REAL))
    (folder / "broken").unlink()
    write(folder, "new")
    s.signal("HUP")
    wait_until(lambda: get_text(s) == "new", "it has started")


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_server_whose_new_image_does_not_start_can_be_stopped(server, folder, name):
    write(folder, "old")
    (folder / "gunicorn.conf.py").write_text(LATE)
    s = server("release:app", "-w", "2", "-p", "pid", folder=folder)
    s.ready_workers(2)
    breaks_late(s, folder)
    assert s.stop(name) == 0
    assert not (folder / "pid").exists()


def test_pid_file_that_cannot_be_written_any_more(server, folder):
    write(folder, "old")
    (folder / "run").mkdir()
    s = server("release:app", "-p", "run/pid", folder=folder)
    assert get_text(s) == "old"
    (folder / "run" / "pid").unlink()
    (folder / "run").rmdir()
    write(folder, "new")
    accepted(s, "new")
    s.wait_log("the server goes on without a pid file")


# --check-path


CHECK = ["--check-path", "/check?a=b"]


def test_check_path_that_fails(server, folder):
    write(folder, "old")
    s = server("release:app", *CHECK, folder=folder)
    assert get_text(s) == "old"
    write(folder, "broken", check='raise RuntimeError("no table")')
    refused(s, "old", "RuntimeError: no table", "GET /check?a=b was answered with status 500")
    write(folder, "down", check='start_response("503 Down", []); return []')
    refused(s, "old", "GET /check?a=b was answered with status 503")
    write(folder, "new", check='start_response("404 Not Found", []); return []')
    accepted(s, "new")
    assert s.access_path.read_text().count("/check") == 0


def test_check_path_that_hangs(server, folder):
    write(folder, "old")
    s = server("release:app", *CHECK, "-t", "1", "--reload-timeout", "2", folder=folder)
    assert get_text(s) == "old"
    write(folder, "hangs", check="import time; time.sleep(1000)")
    refused(s, "old", "takes too long", "in app")


@pytest.mark.parametrize("threads", ["1", "4"])
def test_check_path_sees_a_real_environ(server, folder, certificate, threads):
    write(folder, "old")
    s = server("release:app", *CHECK, "--threads", threads, tls=certificate, folder=folder)
    assert get_text(s) == "old"
    write(folder, "new")
    accepted(s, "new")
    checked = json.loads((folder / "checked.txt").read_text())
    assert s.get("/check?a=b", "User-Agent: cwsgi-check", "Accept: */*").status == 200
    served = json.loads((folder / "checked.txt").read_text())
    handshake = "SSL_CIPHER", "SSL_PROTOCOL"  # there was none
    for name in "REMOTE_PORT", "HTTP_HOST", "SERVER_NAME", "HTTP_CONNECTION", *handshake:
        served.pop(name, None), checked.pop(name, None)
    assert checked == served


def test_check_path_may_be_a_url(folder):
    write(folder, "x")
    done = run("--check-config", "--check-path", "https://shop.example/check?q=1", "release:app", cwd=folder)
    assert done.returncode == 0, done.stderr
    seen = json.loads((folder / "checked.txt").read_text())
    assert seen["HTTP_HOST"] == "shop.example" and seen["wsgi.url_scheme"] == "https"
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/check", "q=1")


def test_check_path_goes_through_the_hooks_of_a_worker(folder):
    write(folder, "x")
    hooks = ["pre_fork(server, worker)", "post_fork(server, worker)", "post_worker_init(worker)"]
    hooks += ["pre_request(worker, req)", "post_request(worker, req)", "worker_exit(server, worker)"]
    (folder / "gunicorn.conf.py").write_text(
        "".join(f"def {h}: print('{h[:h.index('(')]}', worker.age, flush=True)\n" for h in hooks)
    )
    done = run("--check-config", *CHECK, "release:app", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == [f"{h[:h.index('(')]} 1" for h in hooks] + [""]
    (folder / "gunicorn.conf.py").write_text("def post_worker_init(worker):\n    raise RuntimeError('no cache')\n")
    done = run("--check-config", *CHECK, "release:app", cwd=folder)
    assert done.returncode == 1 and "no cache" in done.stderr


@pytest.mark.parametrize("path", ["check", "/a b", "", "/x#y", "ftp://x/"])
def test_bad_check_path(folder, path):
    write(folder, "x")
    done = run("--check-config", f"--check-path={path}", "release:app", cwd=folder)
    assert done.returncode == 1 and "check_path" in done.stderr


def test_large_answer_of_check_path(folder):
    write(folder, "x", check="start_response('200 OK', []); return [b'x' * 5_000_000, b'y']")
    assert run("--check-config", *CHECK, "release:app", cwd=folder).returncode == 0


def test_check_tells_who_asked_and_not_the_log(folder):
    """Though it makes sure that the log could be written."""
    (folder / "release.py").write_text("raise RuntimeError('no database')\n")
    done = run("--check-config", "--log-file", "logs/server.log", "release:app", cwd=folder)
    assert done.returncode == 1 and "no database" in done.stderr
    assert (folder / "logs" / "server.log").read_text() == ""
    done = run("--check-config", "--log-file", "/proc/nowhere/server.log", "release:app", cwd=folder)
    assert done.returncode == 1 and "isn't writable" in done.stderr


@pytest.mark.parametrize("broken", [False, True])
def test_thread_of_the_application_does_not_hold_the_verdict_up(server, folder, broken):
    """One that is no daemon, for which Python would wait at the end."""
    write(folder, "old")
    s = server("release:app", "--reload-timeout", "1000", "-t", "1000", folder=folder)
    s.status_expected = None  # the thread holds the worker up as well, until it is killed
    assert get_text(s) == "old"
    thread = "import threading, time\ndef loop():\n    while True: time.sleep(1)\nthreading.Thread(target=loop).start()\n"
    write(folder, "new")
    with open(folder / "release.py", "a") as f:
        f.write(thread + ("raise RuntimeError('no database')\n" if broken else ""))
    if broken:
        refused(s, "old", "no database")
    else:
        accepted(s, "new")
    s.signal("INT")  # quickly: not for the thread


def test_background_process_of_the_trial_does_not_hold_it_up(server, folder):
    write(folder, "old")
    s = server("release:app", folder=folder)
    assert get_text(s) == "old"
    write(folder, "new")
    with open(folder / "release.py", "a") as f:
        f.write("import subprocess\nprocess = subprocess.Popen(['sleep', '1000'])\n")
        f.write("with open('pids.txt', 'a') as f:\n    print(process.pid, file=f)\n")
    try:
        accepted(s, "new")
    finally:
        subprocess.run(["kill", *(folder / "pids.txt").read_text().split()], check=True)

"""Pid files: content, mode, whose they are, when they come and go; and those of the two masters after USR2."""

import os
import signal

from harness import alive, wait_until
from sides import exists, master_lines, same, wait_until_told

READY = "def post_worker_init(worker):\n    worker.log.info('ready')\n"


def pid_in(file):
    wait_until(lambda: exists(file) and file.read_text().endswith("\n"), f"there is {file.name}")
    return int(file.read_text())


def test_life_of_a_pid_file(both):
    def scenario(side):
        file = side.folder / "x.pid"
        s = side.server("hello:app", "-p", "x.pid", config=READY)
        s.wait_log("] ready")
        facts = {"content": file.read_text() == f"{s.pid}\n", "mode": oct(file.stat().st_mode)}
        wait_until_told(s.workers(1))
        facts["status"] = s.stop()
        return {**facts, "left": exists(file), "folder": sorted(p.name for p in side.folder.glob("*.pid*"))}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi == {"content": True, "mode": "0o100644", "status": 0, "left": False, "folder": []}


def test_pid_file_of_another_is_left_alone_at_the_end(both):
    def scenario(side):
        file = side.folder / "x.pid"
        s = side.server("hello:app", "-p", "x.pid", config=READY)
        s.wait_log("] ready")
        file.unlink()
        file.write_text("1\n")
        s.stop()
        return {"left": file.read_text()}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi == {"left": "1\n"}


def test_stale_pid_files_are_replaced(both):
    def scenario(side):
        file, facts = side.folder / "x.pid", {}
        for content in ("99999999\n", "nonsense", ""):
            file.write_text(content)
            s = side.server("hello:app", "-p", "x.pid", config=READY)
            s.wait_log("] ready")
            facts[content] = file.read_text() == f"{s.pid}\n"
            s.stop()
            s.stderr_path.unlink()
        return facts

    seen = both(scenario)
    same(seen)
    assert all(seen.cwsgi.values())


def test_second_server_is_refused(both):
    def scenario(side):
        s = side.server("hello:app", "-p", "x.pid", config=READY)
        s.wait_log("] ready")
        done = side.run("-b", "127.0.0.1:0", "-p", "x.pid", "hello:app")
        s.stop()
        return {"status": done.returncode, "says": done.stderr.strip().splitlines()[-1].replace(str(s.pid), "PID")}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi["says"] == "Error: Already running on PID PID (or pid file 'x.pid' is stale)"


def test_missing_folder(both):
    def scenario(side):
        done = side.run("-b", "127.0.0.1:0", "-p", "nowhere/x.pid", "hello:app")
        return {"status": done.returncode, "names it": "nowhere" in done.stderr}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi == {"status": 1, "names it": True}


def test_two_masters(both):
    """USR2, then the end of the old master: whose pid stands where, and what the log says."""

    def scenario(side):
        one, two = side.folder / "x.pid", side.folder / "x.pid.2"
        s = side.server("hello:app", "-p", "x.pid", config=READY)
        s.wait_log("] ready")
        s.signal("USR2")
        new = pid_in(two)
        try:
            wait_until(lambda: s.log().count("] ready") == 2, "the new one serves")
            facts = {"old": one.read_text() == f"{s.pid}\n", "new": new != s.pid and alive(new)}
            s.signal("USR2")
            s.wait_log("USR2 signal ignored. Child exists.")
            s.signal("QUIT")
            facts["status"] = s.wait()
            s.wait_log("Master has been promoted.")
            wait_until(lambda: not exists(two) and pid_in(one) == new, "the file is renamed")
            facts["serves"] = s.get("/").status
        finally:
            os.kill(new, signal.SIGTERM)
            wait_until(lambda: not alive(new), "it has ended")
        return {**facts, "left": exists(one), "old log": master_lines(s), "new log": master_lines(s, new)}

    seen = both(scenario)
    same(seen)
    assert seen.cwsgi["old"] and seen.cwsgi["new"] and seen.cwsgi["serves"] == 200 and not seen.cwsgi["left"]
    assert "INFO Master has been promoted." in seen.cwsgi["new log"]

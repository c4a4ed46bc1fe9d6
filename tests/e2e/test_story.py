"""The story's site: Flask over HTTPS from a venv, by its command, by its scripts, by cron, in a browser."""

import os
import re
import shutil
import subprocess

import pytest

from harness import (
    APPS,
    BOUND,
    PRODUCT,
    REPO,
    WORKER_CLASS,
    Load,
    command,
    environment,
    free_port,
    in_session,
    listening,
    ours,
    processes,
    wait_until,
)

EXAMPLE = REPO / "examples" / "hello_flask"


@pytest.fixture
def site_folder(hello_flask, tmp_path):
    """A hello_flask of this test's own: its processes are told from others by its path."""
    folder = tmp_path / "public_html" / "hello_flask"
    folder.mkdir(parents=True)
    (folder / "venv").symlink_to(hello_flask / "venv")
    shutil.copy2(EXAMPLE / "hello.py", folder)
    return folder


def program(folder):
    return str(folder / "venv" / "bin" / PRODUCT)


def curl(certificate, url):
    done = subprocess.run(
        ["curl", "-sS", "--cacert", certificate.cert, url], capture_output=True, text=True, timeout=BOUND
    )
    return done.stdout or done.stderr


@pytest.fixture
def story(server, site_folder, certificate):
    """The command of the title."""
    if PRODUCT == "gunicorn":  # which does not make it
        (site_folder / "logs").mkdir()
    logs = ["--access-logfile", "logs/access.log", "--log-file", "logs/server.log"]
    s = server(
        "hello:app", "-w", "3", *logs, exe=program(site_folder), host="0.0.0.0", folder=site_folder, tls=certificate
    )
    s.access_path = site_folder / "logs" / "access.log"
    return s


def test_title_command_serves_hello_world(story, certificate):
    workers = story.workers(3)
    assert curl(certificate, story.url("/hello")) == "Hello, World!"
    time = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
    story.wait_access(rf'^127\.0\.0\.1 - - {time} "GET /hello HTTP/1\.1" 200 13 "-" "curl/[\d.]+[^"]*"$')
    for pid in workers:
        story.wait_log(f"Booting worker with pid: {pid}\n")
    stamp = r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}\] "
    lines = (story.dir / "logs" / "server.log").read_text().splitlines()
    expected = [
        rf"{stamp}\[{story.pid}\] \[INFO\] Starting {PRODUCT} \d+\.\d+\S*$",
        rf"{stamp}\[{story.pid}\] \[INFO\] Listening at: https://0\.0\.0\.0:{story.port} \({story.pid}\)$",
        rf"{stamp}\[{story.pid}\] \[INFO\] Using worker: {WORKER_CLASS}$",
        *[rf"{stamp}\[{pid}\] \[INFO\] Booting worker with pid: {pid}$" for pid in workers],
    ]
    assert [e for e in expected if not any(re.match(e, line) for line in lines)] == [], lines
    assert story.stderr_path.read_text() == "", "the log file has it all"


def test_killed_worker_costs_no_other_request(story, certificate):
    """The story's site under load from curl's view: new connections, while workers are killed and replaced."""
    victim = story.workers(3)[0]
    with Load(story, 6, lambda s: s.get("/hello", "Connection: close").status) as load:
        load.wait_replies(30)
        os.kill(victim, 9)
        wait_until(lambda: victim not in story.children() and len(story.children()) == 3, "there is a new worker")
        load.wait_replies(30)  # whoever was with the killed one has noticed
        hit = len(load.failures)
        load.wait_replies(60)
    assert hit <= 6, "one request of each client may have been with the killed worker"
    assert len(load.failures) == hit and set(load.replies) == {200}


def chromium():
    return next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)


@pytest.mark.skipif(not chromium(), reason="no chromium here")
def test_browser_shows_the_page(story, tmp_path):
    done = subprocess.run(
        [chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--ignore-certificate-errors"]
        + [f"--user-data-dir={tmp_path}/profile", "--dump-dom", story.url("/hello")],
        capture_output=True,
        text=True,
        timeout=4 * BOUND,
    )
    assert "Hello, World!" in done.stdout, done.stderr


# In ps.


def ps():
    # Without COLUMNS, which readline puts into the environment of pytest and of its processes: ps would obey.
    done = subprocess.run(["ps", "-ef"], env=environment(), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@ours
def test_ps_shows_the_venvs_path(story, site_folder):
    workers = story.workers(3)
    wait_until(lambda: all(": worker" in command(pid) for pid in workers), "the workers have their titles")
    mine = [line for line in ps() if str(site_folder) in line]
    titles = {int(line.split()[1]): line[line.index(str(site_folder)) :] for line in mine}
    assert titles.pop(story.pid) == f"{program(site_folder)}: master [hello:app]"
    assert sorted(titles) == workers
    for title in titles.values():
        assert title.startswith(f"{program(site_folder)}: worker [hello:app]")


@ours
def test_title_has_room_even_if_the_command_line_had_none(site_folder, tmp_path):
    """As from cron, but barer: found by PATH, hardly an argument, no other variable."""
    port = free_port()
    env = {"PATH": f"{site_folder}/venv/bin", **{k: v for k, v in environment().items() if k.endswith("SAN_OPTIONS")}}
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(["cwsgi", "-b", f":{port}", "hello:app"], cwd=site_folder, env=env, stderr=log)
    try:
        wait_until(lambda: listening(port), "it listens")
        wait_until(lambda: command(process.pid) == f"{program(site_folder)}: master [hello:app]", "it has its title")
        worker = [pid for pid, parent, _, _ in processes() if parent == process.pid]
        wait_until(
            lambda: command(worker[0]).startswith(f"{program(site_folder)}: worker [hello:app]"), "so has its worker"
        )
    finally:
        process.terminate()
        assert process.wait(BOUND) == 0


@ours
def test_name_option_is_shown(server):
    s = server("hello:app", "-n", "shop")
    wait_until(lambda: command(s.pid).endswith(": master [shop]"), "it has its title")
    wait_until(lambda: ": worker [shop]" in command(s.workers(1)[0]), "so has its worker")


@ours
def test_environment_reaches_the_application_in_spite_of_the_title(server):
    variables = {f"MY_{i}": "x" * i for i in range(50)}
    s = server("probe:app", env=environment(**variables))
    assert s.get("/variables?names=" + ",".join(variables)).text == "|".join(variables.values())


# By scripts.


class Script:
    """Runs a script as cron does: bare environment, no terminal; what it starts in the background stays behind."""

    def __init__(self, folder, *start, **variables):
        self.folder, self.start = folder, start
        sanitizers = {k: v for k, v in environment().items() if k.endswith("SAN_OPTIONS")}
        self.env = {"HOME": str(folder.parent), "PATH": "/usr/bin:/bin", **sanitizers, **variables}
        self.sessions = []

    def run(self, *args):
        """(status, output). Output goes to a file: a pipe would stay open as long as the server runs."""
        with open(self.folder / "script.out", "w+") as out:
            process = subprocess.Popen(
                [*map(str, self.start), *map(str, args)],
                cwd="/",
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.sessions.append(process.pid)
            status = process.wait(BOUND * 2)
            out.seek(0)
            return status, out.read()

    def processes(self):
        return [pid for session in self.sessions for pid in in_session(session)]

    def master(self):
        """The one whose parent is none of ours."""
        mine = self.processes()
        return [pid for pid, parent, _, _ in processes() if pid in mine and parent not in mine]

    def clean(self):
        for pid in self.processes():
            os.kill(pid, 9)


def orphans_go_to_init():
    out = subprocess.run(["sh", "-c", "sleep 5 >/dev/null 2>&1 & echo $!"], capture_output=True, text=True).stdout
    parent = [parent for pid, parent, _, _ in processes() if pid == int(out)]
    os.kill(int(out), 9)
    return parent == [1]


@ours
def test_script_of_the_story(site_folder, certificate):
    """The story's script, as it stands; the name of this test must not have "grep" in it, as its folder has it, too."""
    if not orphans_go_to_init():
        pytest.skip("orphans have another parent than 1 here, which the script relies on")
    port = free_port()
    serve = [program(site_folder), "-w", "3", "-b", f"0.0.0.0:{port}", "--chdir", site_folder]
    serve += ["--certfile", certificate.cert, "--keyfile", certificate.key]
    serve += ["--access-logfile", "logs/access.log", "--log-file", "logs/server.log", "hello:app"]
    shutil.copy2(APPS / "run_process_ps.sh", site_folder / "run_process.sh")
    script = Script(site_folder, "sh", site_folder / "run_process.sh")
    name = str(site_folder / "venv")
    try:
        assert script.run("start", name, *serve) == (0, "Starting server\n")
        wait_until(lambda: listening(port), "it listens")
        wait_until(lambda: len(script.processes()) == 4, "all workers are there")
        (master,) = script.master()
        assert curl(certificate, f"https://localhost:{port}/hello") == "Hello, World!"
        assert script.run("start", name, *serve) == (0, f"Server is already running with pid={master}\n")
        assert len(script.processes()) == 4
        assert script.run("stop", name) == (0, f"Stopping server with pid={master}\n")
        wait_until(lambda: not script.processes(), "all have ended")
        assert script.run("stop", name) == (0, "Server is not running\n")
    finally:
        script.clean()


RESTARTS = 20


@ours
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_stop_and_start_by_the_script_leave_the_site_up(site_folder, certificate, busy):
    """Right after one another, also while a request is running: each time the port is free, and nobody in ps."""
    if not orphans_go_to_init():
        pytest.skip("orphans have another parent than 1 here, which the script relies on")
    port = free_port()
    serve = [program(site_folder), "-w", "3", "-b", f"127.0.0.1:{port}", "--chdir", site_folder]
    serve += ["--certfile", certificate.cert, "--keyfile", certificate.key, "--log-file", "logs/server.log", "probe:app"]
    shutil.copy2(APPS / "run_process_ps.sh", site_folder / "run_process.sh")
    shutil.copy2(APPS / "probe.py", site_folder)
    script = Script(site_folder, "sh", site_folder / "run_process.sh")
    name = str(site_folder / "venv")
    running = None
    try:
        assert script.run("start", name, *serve) == (0, "Starting server\n")
        wait_until(lambda: listening(port), "it listens")
        for n in range(RESTARTS):
            if busy:
                command_line = ["curl", "-sS", "--cacert", certificate.cert, f"https://localhost:{port}/pid?sleep=0.5"]
                running = subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                wait_until(lambda n=n: read(site_folder / "calls.txt").count("sleep") == n + 1, "it is running")
            status, said = script.run("stop", name)
            assert status == 0 and said.startswith("Stopping server with pid="), said
            assert script.run("start", name, *serve) == (0, "Starting server\n"), f"restart {n}"
            wait_until(lambda: listening(port), f"it listens after restart {n}")
            assert curl(certificate, f"https://localhost:{port}/pid").isdigit(), f"restart {n}"
            if running:
                assert running.communicate(timeout=BOUND)[0].isdigit(), f"restart {n} broke off a request"
        (master,) = wait_until(lambda: len(m := script.master()) == 1 and m, "the old ones are gone")
        assert script.run("stop", name) == (0, f"Stopping server with pid={master}\n")
        wait_until(lambda: not script.processes(), "all have ended")
    finally:
        script.clean()


def read(path):
    return path.read_text() if path.exists() else ""


def run_process(folder, port):
    """The example's script, on another port."""
    text = (EXAMPLE / "run_process.sh").read_text()
    assert "BIND=0.0.0.0:8080\n" in text
    path = folder / "run_process.sh"
    path.write_text(text.replace("BIND=0.0.0.0:8080\n", f"BIND=0.0.0.0:{port}\n"))
    path.chmod(0o755)
    return path


@ours
def test_run_process_of_the_example(site_folder, certificate):
    port = free_port()
    script = Script(site_folder, run_process(site_folder, port), CERT=str(certificate.cert), KEY=str(certificate.key))
    try:
        assert script.run("status") == (3, "cwsgi is not running\n")
        status, said = script.run("start")
        assert status == 0 and (started := re.fullmatch(r"cwsgi started with pid (\d+)\n", said)), said
        wait_until(lambda: listening(port), "it listens")
        assert script.master() == [int(started[1])]
        assert curl(certificate, f"https://localhost:{port}/hello") == "Hello, World!"
        assert script.run("status") == (0, f"cwsgi is running with pid {started[1]}\n")
        assert script.run("start") == (0, f"cwsgi is running with pid {started[1]}\n")
        status, said = script.run("restart")
        assert status == 0 and (again := re.search(r"cwsgi started with pid (\d+)\n", said)), said
        assert again[1] != started[1]
        wait_until(lambda: listening(port), "it listens")
        assert curl(certificate, f"https://localhost:{port}/hello") == "Hello, World!"
        assert script.run("stop") == (0, "cwsgi stopped\n")
        assert script.processes() == []
        assert script.run("stop") == (0, "cwsgi is not running\n")
        assert script.run("nonsense")[0] == 2
    finally:
        script.clean()


@ours
def test_run_process_finds_the_newest_certificate_and_its_key(site_folder, certificate):
    """Where cPanel puts them, under names that say nothing."""
    home = site_folder.parent
    for folder, file in {"certs": certificate.cert, "keys": certificate.key}.items():
        (home / "ssl" / folder).mkdir(parents=True)
        shutil.copy2(file, home / "ssl" / folder / f"a1b2{file.suffix}")
    port = free_port()
    script = Script(site_folder, run_process(site_folder, port))
    try:
        assert script.run("start")[0] == 0
        wait_until(lambda: listening(port), "it listens")
        assert curl(certificate, f"https://localhost:{port}/hello") == "Hello, World!"
        assert script.run("stop") == (0, "cwsgi stopped\n")
    finally:
        script.clean()


@ours
def test_run_process_tells_why_it_did_not_start(site_folder, certificate):
    (site_folder / "hello.py").write_text("raise RuntimeError('no database')\n")
    script = Script(
        site_folder, run_process(site_folder, free_port()), CERT=str(certificate.cert), KEY=str(certificate.key)
    )
    try:
        script.run("start")
        wait_until(lambda: not script.processes(), "it has given up")
        assert "no database" in (site_folder / "logs" / "server.log").read_text()
    finally:
        script.clean()

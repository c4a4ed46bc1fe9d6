"""--reload: what is watched, and what becomes of code that does not load."""

import os

import pytest

from harness import ours, wait_until

APP = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"
IMPORTING = (
    "import part\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [part.text]\n"
)


def write(path, text):
    """As most editors do it. Never within the same second and of the same size: Python would keep what it compiled."""
    path.with_suffix(".tmp").write_text(text)
    os.rename(path.with_suffix(".tmp"), path)


@pytest.fixture(params=["inotify", "poll"])
def reloading(server, folder, request):
    def start(*args, **options):
        s = server("shop:app", "--reload", "--reload-engine", request.param, *args, folder=folder, **options)
        s.engine = request.param
        s.answers = lambda text: wait_until(lambda: s.get("/").text == text, f"it answers {text}")
        return s

    return start


@ours
@pytest.mark.parametrize("workers", ["1", "3"])
def test_change_of_the_application(reloading, folder, workers):
    write(folder / "shop.py", APP % "old")
    s = reloading("-w", workers)
    s.answers("old")
    s.ready_workers(int(workers))
    write(folder / "shop.py", APP % "newer")
    s.answers("newer")
    assert "Reloader is on. Use in development only!" in s.log()
    assert s.log().count("shop.py modified") == 1
    s.ready_workers(int(workers))


@ours
def test_change_of_what_it_imports(reloading, folder):
    write(folder / "part.py", "text = b'old'\n")
    write(folder / "shop.py", IMPORTING)
    s = reloading()
    s.answers("old")
    write(folder / "part.py", "text = b'newer'\n")
    s.answers("newer")


@ours
def test_code_that_does_not_load_waits_for_the_next_change(reloading, folder):
    write(folder / "shop.py", APP % "old")
    s = reloading()
    s.tracebacks_expected = True
    s.answers("old")
    write(folder / "shop.py", "def app(\n")
    s.wait_log("Reload refused")
    assert "SyntaxError" in s.log()
    assert s.get("/").text == "old"
    write(folder / "shop.py", APP % "mended")
    s.answers("mended")


@ours
@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize("broken", ["def app(\n", "import no_such_module\n", "application = 7\n"])
def test_server_that_starts_with_code_that_does_not_load(reloading, folder, broken, preload):
    write(folder / "shop.py", broken)
    s = reloading(*["--preload"] * preload)
    s.tracebacks_expected = True
    reply = s.get("/")
    assert (reply.status, "does not load" in reply.text) == (500, True)
    write(folder / "shop.py", APP % "mended")
    s.answers("mended")


@ours
def test_extra_files_and_patterns(reloading, folder):
    write(folder / "part.py", "text = open('page.html', 'rb').read() + open('deep/er/x.html', 'rb').read()\n")
    write(folder / "shop.py", IMPORTING)
    (folder / "deep" / "er").mkdir(parents=True)
    write(folder / "page.html", "one")
    write(folder / "deep" / "er" / "x.html", "+two")
    s = reloading("--reload-extra-file", "page.html", "--reload-extra-file", "deep/**/*.html")
    s.answers("one+two")
    write(folder / "page.html", "three")
    s.answers("three+two")
    write(folder / "deep" / "er" / "x.html", "+four")
    s.answers("three+four")


@ours
def test_files_that_are_no_source_do_not_matter(reloading, folder):
    write(folder / "shop.py", APP % "old")
    s = reloading()
    s.answers("old")
    write(folder / "notes.txt", "x")
    write(folder / "shop.py", APP % "newer")
    s.answers("newer")
    assert "notes" not in s.log()

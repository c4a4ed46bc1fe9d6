"""What the application has open when its worker ends: it ends as a Python program does."""

import shelve
import zipfile

import pytest

APP = """
import atexit, os, shelve, tempfile, threading, time, zipfile
folder = os.getcwd()
rows = open("rows.txt", "a")

class Resource:
    def __init__(self):
        self.myself = self
    def __del__(self):
        os.write(2, b"freed\\n")

def job():
    time.sleep(0.5)
    os.write(2, b"job done\\n")

def app(environ, start_response):
    global resource, shelf, packed, scratch
    print("printed")
    rows.write("row\\n")
    atexit.register(os.write, 2, b"atexit\\n")
    resource = Resource()
    shelf = shelve.open(folder + "/shelf", writeback=True)
    shelf["list"] = []
    shelf["list"].append(1)
    packed = zipfile.ZipFile("packed.zip", "w")
    packed.writestr("name", "text")
    scratch = tempfile.NamedTemporaryFile(dir=folder, prefix="scratch")
    if environ["PATH_INFO"] == "/job":
        thread = threading.Thread(target=job)
        assert not thread.daemon
        thread.start()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "ends.py").write_text(APP)
    return tmp_path / "site"


@pytest.mark.parametrize("more", ((), ("--preload",), ("-w", "3"), ("--threads", "2")), ids=" ".join)
@pytest.mark.parametrize("signal", ("TERM", "INT"))
def test_nothing_that_is_open_is_lost(server, folder, more, signal):
    s = server("ends:app", *more, folder=folder)
    assert s.get("/").text == "ok"
    assert list(folder.glob("scratch*"))
    s.stop(signal)
    assert (s.dir / "stdout.txt").read_text() == "printed\n"
    assert s.log().count("freed\n") == s.log().count("atexit\n") == 1
    assert (folder / "rows.txt").read_text() == "row\n"
    with zipfile.ZipFile(folder / "packed.zip") as packed:
        assert packed.read("name") == b"text"
    with shelve.open(str(folder / "shelf")) as shelf:
        assert shelf["list"] == [1]
    assert not list(folder.glob("scratch*"))


@pytest.mark.parametrize("more", ((), ("--threads", "2")), ids=" ".join)
def test_thread_that_a_request_has_started_is_waited_for(server, folder, more):
    s = server("ends:app", *more, folder=folder)
    assert s.get("/job").text == "ok"
    s.stop("TERM")
    assert "job done\n" in s.log()

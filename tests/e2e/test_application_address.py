"""MODULE, MODULE:NAME, MODULE:factory("x", key=1), and where modules are looked for."""

import pytest

from harness import environment

FILES = {
    "plain.py": "from made import make\napplication = make('application')\napp = make('app')\nfactory = make.factory\n",
    "made.py": """
def make(name):
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [name.encode()]
    return app

make.factory = lambda *args, **options: make(repr((args, options)))
""",
    "package/__init__.py": "",
    "package/deep/__init__.py": "from made import make\napplication = make('package')\n",
    "package/deep/site.py": "from made import make\napp = make('dotted')\n",
    "elsewhere/there.py": """
import os
from made import make
app = make(os.getcwd() + " " + os.environ.get("MY", ""))
""",
}
FILES["elsewhere/made.py"] = FILES["made.py"]


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "site"


@pytest.mark.parametrize(
    "address, body",
    [
        ("plain", "application"),
        ("plain:app", "app"),
        ("plain:factory()", "((), {})"),
        ('plain:factory("x", 2, k=1, l=[None, {"a": -1.5}])', "(('x', 2), {'k': 1, 'l': [None, {'a': -1.5}]})"),
        ("package.deep", "package"),
        ("package.deep.site:app", "dotted"),
    ],
)
def test_address_is_found(server, folder, address, body):
    assert server(address, folder=folder).get("/").text == body


def test_chdir_is_where_the_application_runs(server, folder):
    s = server("there:app", "--chdir", "elsewhere", "-e", "MY=own", folder=folder)
    assert s.get("/").text == f"{folder}/elsewhere own"


def test_pythonpath_option_is_searched(server, folder):
    s = server("there:app", "--pythonpath", f"/nowhere,{folder}/elsewhere", folder=folder)
    assert s.get("/").text.strip() == str(folder)


def test_current_directory_comes_before_pythonpath(server, folder, tmp_path):
    (tmp_path / "plain.py").write_text("raise RuntimeError('not this one')")
    s = server("plain:app", folder=folder, env=environment(PYTHONPATH=str(tmp_path)))
    assert s.get("/").text == "app"


def test_address_may_stand_in_the_configuration_file(server, folder):
    (folder / "gunicorn.conf.py").write_text("wsgi_app = 'plain:app'\n")
    assert server(None, folder=folder).get("/").text == "app"


def test_preloaded_application_is_loaded_once(server, folder):
    (folder / "counted.py").write_text(
        "import os\nopen('loads', 'a').write(f'{os.getpid()}\\n')\nfrom plain import app\n"
    )
    s = server("counted:app", "--preload", "-w", "3", folder=folder)
    s.workers(3)
    assert s.get("/").text == "app"
    assert (folder / "loads").read_text() == f"{s.pid}\n"


def test_master_runs_no_request_and_loads_no_application(server, folder):
    (folder / "counted.py").write_text(
        "import os\nopen('loads', 'a').write(f'{os.getpid()}\\n')\nfrom plain import app\n"
    )
    s = server("counted:app", "-w", "2", folder=folder)
    workers = s.workers(2)
    assert s.get("/").text == "app"
    assert set((folder / "loads").read_text().split()) <= set(map(str, workers))

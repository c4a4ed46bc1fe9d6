"""Django with its admin, for each Python that the machine has."""

import hashlib
import json
import os
import re
import subprocess

import pytest

from harness import APPS, BOUND, environment
from visitor import Visitor

BIG = os.urandom(1 << 20) * 50

SETTINGS = """
ROOT_URLCONF = "django_pages"
ALLOWED_HOSTS = ["localhost"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # a test need not be slow to break
"""

WSGI = """
import os
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application
application = StaticFilesHandler(get_wsgi_application())
"""


@pytest.fixture(scope="module")
def django(module_server, served, tmp_path_factory):
    folder = tmp_path_factory.mktemp("django")

    def python(*args):
        env = environment(DJANGO_SUPERUSER_PASSWORD="secret word")
        subprocess.run(
            [f"{served.venv}/bin/python", *args],
            cwd=folder,
            env=env,
            check=True,
            capture_output=True,
            timeout=10 * BOUND,
        )

    python("-m", "django", "startproject", "project", ".")
    with open(folder / "project" / "settings.py", "a") as settings:
        settings.write(SETTINGS)
    (folder / "site_wsgi.py").write_text(WSGI)
    (folder / "django_pages.py").write_bytes((APPS / "django_pages.py").read_bytes())
    (folder / "big.bin").write_bytes(BIG)
    python("manage.py", "migrate", "-v0")
    python("manage.py", "createsuperuser", "--noinput", "--username", "root", "--email", "root@example.test")
    return module_server("site_wsgi", "-w", "2", folder=folder, **served.options)


@pytest.fixture
def visitor(django):
    return Visitor(django)


def test_admin_and_its_static_files(visitor):
    page = visitor.open("/admin/")
    assert page.url.endswith("/admin/login/?next=/admin/")
    html = page.data.decode()
    linked = re.findall(r'(?:href|src)="(/static/[^"]+)"', html)
    assert len(linked) > 3
    for path in linked:
        file = visitor.open(path)
        assert file.status == 200 and len(file.data) == int(file.headers["Content-Length"]) > 0


def test_login_and_a_form_in_the_admin(visitor):
    visitor.open("/admin/login/")
    fields = {"username": "root", "password": "secret word", "next": "/admin/"}
    page = visitor.submit("/admin/login/", {**fields, "csrfmiddlewaretoken": visitor.cookie("csrftoken")})
    assert page.status == 200 and "Site administration" in page.data.decode()
    visitor.open("/admin/auth/group/add/")
    fields = {"name": "Gruppe \u00fc", "_save": "Save", "csrfmiddlewaretoken": visitor.cookie("csrftoken")}
    page = visitor.submit("/admin/auth/group/add/", fields)
    assert page.status == 200 and "Gruppe \u00fc" in page.data.decode()


def test_form_with_csrf(visitor):
    token = visitor.open("/form").data.decode()
    assert visitor.submit("/form", {"name": "Zoë"}).status == 403
    answer = visitor.submit("/form", {"name": "Zoë", "csrfmiddlewaretoken": token})
    assert answer.data.decode() == "Hello, Zoë!"


def test_upload_of_50_megabytes(visitor):
    token = visitor.open("/form").data.decode()
    answer = visitor.upload("/upload", {"csrfmiddlewaretoken": token}, "file", "big.bin", BIG)
    assert json.loads(answer.data) == {
        "name": "big.bin",
        "size": len(BIG),
        "sha": hashlib.sha256(BIG).hexdigest(),
        "kind": "TemporaryUploadedFile",
    }


def test_streaming_response(visitor):
    assert visitor.open("/stream").data.decode().splitlines()[999] == "row 999"


def test_file_response(visitor):
    file = visitor.open("/file")
    assert file.headers["Content-Length"] == str(len(BIG))
    assert hashlib.sha256(file.data).digest() == hashlib.sha256(BIG).digest()


def test_missing_page(visitor):
    assert visitor.open("/nowhere").status == 404

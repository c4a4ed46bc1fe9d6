"""Fixtures of the comparison with gunicorn. What they give is in sides.py."""

import pytest

import venvs
from harness import BINARY, IS_GUNICORN, folder_with_apps

pytest.register_assert_rewrite("sides")

from sides import Side, on_both  # noqa: E402


def pytest_collection_modifyitems(items):
    for item in items:
        if IS_GUNICORN and "compat" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="compares cwsgi with gunicorn"))


@pytest.fixture(scope="session")
def gunicorn():
    """The newest gunicorn, in a venv."""
    python = venvs.linked_python()
    with venvs.cached(f"gunicorn-{python.name}", f"{python}") as (folder, fresh):
        if fresh:
            venvs.make_venv(python, folder / "venv")
            venvs.pip_install(folder / "venv", "gunicorn")
    return str(folder / "venv" / "bin" / "gunicorn")


@pytest.fixture
def sides(gunicorn, server, tmp_path):
    """(gunicorn, cwsgi), each with a folder that has all of tests/apps."""
    both = {"gunicorn": gunicorn, "cwsgi": BINARY}
    return [Side(name, exe, folder_with_apps(tmp_path / name), server) for name, exe in both.items()]


@pytest.fixture
def both(sides):
    """both(scenario): Both(gunicorn=scenario(side), cwsgi=scenario(side))."""
    return lambda scenario: on_both(sides, scenario)

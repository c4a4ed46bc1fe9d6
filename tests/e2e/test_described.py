"""What is made from the table of settings: the man page and the completions of shells."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import BINARY, BOUND, environment, ours, run

pytestmark = ours
BUILD = Path(BINARY).parent

BASH = r"""
source "$1"; shift
COMP_WORDS=(cwsgi "$@") COMP_CWORD=$#
compopt() { :; }  # readline's, of no use here
_cwsgi
printf '%s\n' "${COMPREPLY[@]}"
"""


def needs(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def said(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=BOUND, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*", text))


def test_man_page_has_every_option_of_the_help_text_that_works(folder):
    needs("groff")
    text = said("groff", "-man", "-Tascii", "-P-cbou", "-ww", "-rHY=0", "-rLL=500n", BUILD / "cwsgi.1")
    shown = run("--help", cwd=folder, env=environment()).stdout
    rows = [" ".join(row.split("\n\n")[0].split()) for row in re.split(r"\n  (?=-)", shown)[1:]]
    flags = lambda row: set(re.findall(r"--[a-z0-9_-]+", re.match(r"(-\S+(,? |$)|[A-Z]+ )*", row)[0]))  # noqa: E731
    dead = [row for row in rows if "(no effect)" in row or "(not supported)" in row]
    in_manual = options_in(text)
    assert all(flags(row) <= in_manual for row in rows if row not in dead and "is supported)" not in row)
    assert not any(flags(row) & in_manual for row in dead), dead
    assert {"WEB_CONCURRENCY", "CWSGI_CMD_ARGS", "HUP"} <= set(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    "words, offered",
    [
        (["--log-l"], {"--log-level"}),
        (["--log-level", "de"], {"debug"}),
        (["--log-level", "=", "w"], {"warning"}),
        (["-k", ""], {"sync", "gthread"}),
        (["--chdir", "su"], {"sub"}),
        (["--certfile", "si"], {"site.crt", "site.py"}),
        (["-w", ""], {""}),
        (["-w", "3", "si"], {"site"}),
    ],
)
def test_bash_completes(folder, words, offered):
    (folder / "sub").mkdir()
    for name in "site.py", "site.crt":
        (folder / name).touch()
    assert set(said("bash", "-c", BASH, "-", BUILD / "cwsgi.bash", *words, cwd=folder).splitlines()) == offered


def test_bash_offers_what_the_help_text_has():
    offered = said("bash", "-c", BASH, "-", BUILD / "cwsgi.bash", "--").split()
    assert {"--bind", "--limit-request-field_size", "--help", "--no-sendfile"} <= set(offered)
    assert not {"--asgi-loop", "--dirty-app"} & set(offered)


def test_fish_completes(folder):
    needs("fish")
    env = environment(HOME=str(folder), XDG_CONFIG_HOME=str(folder), XDG_DATA_HOME=str(folder))
    (folder / "site.py").touch()
    ask = lambda line: said("fish", "-c", f"source {BUILD}/cwsgi.fish; complete -C '{line}'", cwd=folder, env=env)  # noqa: E731
    assert re.match(r"--log-level\t.", ask("cwsgi --log-lev"))
    assert [line.split("\t")[0] for line in ask("cwsgi --log-level d").splitlines()] == ["debug"]
    assert "site\n" in ask("cwsgi sit")


ZSH = r"""
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z 'unset zle_bracketed_paste; PS1=; fpath=('"$1"' $fpath); autoload -Uz compinit; compinit -u -D'
zpty -w z 'bindkey "^I" complete-word; zstyle ":completion:*" list-prompt ""; echo READY; stty -echo'
zpty -r z out '*READY*READY*'
zpty -w -n z $'cwsgi --log-lev\tDE\t'
zpty -r z out '*--log-level*'
print -r -- "$out"
zpty -d z
"""


def test_zsh_completes(folder):
    needs("zsh")
    env = environment(HOME=str(folder), ZDOTDIR=str(folder), TERM="dumb")
    said("zsh", "-f", "-n", BUILD / "_cwsgi", env=env)
    done = subprocess.run(["zsh", "-f", "-c", ZSH, "-", BUILD], capture_output=True, text=True, timeout=BOUND, env=env)
    assert "--log-level" in done.stdout, done


def test_all_are_installed_where_they_are_looked_for(tmp_path):
    said("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", tmp_path, env={**os.environ})
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    for ending in (
        "share/man/man1/cwsgi.1",
        "share/bash-completion/completions/cwsgi.bash",
        "share/zsh/site-functions/_cwsgi",
        "share/fish/vendor_completions.d/cwsgi.fish",
    ):
        assert any(path.endswith(ending) for path in found), found

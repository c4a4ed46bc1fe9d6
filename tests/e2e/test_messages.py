"""docs/messages.md lists what the server log may say: each message that is in the sources, and no other."""

import re

from harness import REPO, ours

pytestmark = ours

CALL = re.compile(
    r'\b(?:log_(debug|info|warning|error|critical)\(|(?:log_line|pyerror_log)\((?:[\w>.()?:= -]*?)(LOG_LEVEL_(\w+))?[^",;]*,)\s*'
    r'((?:"(?:[^"\\]|\\.)*"\s*(?:PRI\w+\s*)?)+)'
)
SPEC = re.compile(r"%[-+ #0]*(?:\*|\d+)?(?:\.(?:\*|\d+))?(?:hh|h|ll|l|z|j)?[a-zA-Z]|%(?=$)")


def messages_in(text):
    for m in CALL.finditer(text):
        whole = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', m[4])).encode().decode("unicode_escape")
        whole = SPEC.sub("…", whole).replace("%%", "%")
        if whole.strip("…: "):
            yield whole


def in_sources():
    found = {}
    for folder in ("server", "python", "wsgi", "program"):
        for file in sorted((REPO / folder).rglob("*.c")):
            for message in messages_in(file.read_text()):
                found.setdefault(message, file.relative_to(REPO))
    for file in ("main.c", "launcher.c"):
        for message in messages_in((REPO / file).read_text()):
            found.setdefault(message, file)
    return found


def in_docs():
    rows = re.findall(r"^\| (\w+) \| `(.+?)` \| (.+) \|$", (REPO / "docs" / "messages.md").read_text(), re.M)
    assert rows and all(level in ("debug", "info", "warning", "error", "critical") for level, _, _ in rows)
    return {message.replace("\\|", "|"): advice for _, message, advice in rows}


def test_every_message_is_listed():
    listed = in_docs()
    missing = {m: str(f) for m, f in in_sources().items() if m not in listed}
    assert not missing, "add them to docs/messages.md"


def test_no_message_is_listed_that_is_gone():
    known = in_sources()
    assert not [m for m in in_docs() if m not in known], "take them out of docs/messages.md"


def test_every_message_says_what_to_do():
    assert not [m for m, advice in in_docs().items() if not advice.strip()]

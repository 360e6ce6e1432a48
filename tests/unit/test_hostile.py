"""The hostile suite: programs that attack the sandbox, its limits, its verdicts and each other's runs.

Every program runs in every real sandbox, as root and as an ordinary user. In slow languages `make test-slow` takes two
of these four pairs and `make test-all` the others. `@HOME@`, `@PORT@` and `@MARK@` in a program are a home directory
with a secret in it, a port this machine listens on, and a word that names what the attack leaves. A program that
attacks a wall gives the right answer if, and only if, it got through.
"""

import re
import socket
import tempfile
import uuid
from itertools import product
from pathlib import Path

import pytest
from hostile_programs import ATTACKS, HONEST, ITEMS
from sandbox_support import USERS, call_as, need_language, need_sandbox

from submodels import files

MARK = f"mark{uuid.uuid4().hex}"
SANDBOXES = ("bubblewrap", "unshare")
SLOW = ("cpp", "java", "javascript")
# Each sandbox once, each user once: the pairs whose walls differ most.
TELLING = (("root", "bubblewrap"), ("ordinary", "unshare"))


def cases():
    """Every language in every sandbox as every user; of slow languages only the telling pairs in an ordinary run."""
    for language, user, sandbox in product(ATTACKS, USERS, SANDBOXES):
        marks = [pytest.mark.slow if (user, sandbox) in TELLING else pytest.mark.exhaustive] * (language in SLOW)
        yield pytest.param(language, user, sandbox, marks=marks)


@pytest.mark.parametrize(("language", "user", "sandbox"), list(cases()))
def test_every_attack_is_contained_and_judged_rightly(language, user, sandbox, monkeypatch):
    need_language(language)
    need_sandbox(sandbox)
    monkeypatch.setenv("SECRET_TOKEN", MARK)
    assert _wrong(language, sandbox, user) == {}


def _wrong(language: str, sandbox: str, user: str) -> dict[str, dict]:
    """What was seen of the attacks that did not go as expected."""
    table = ATTACKS[language]
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        server.setblocking(False)
        home = Path(place)
        (home / "secret").write_text("#define SECRET 2\n")
        words = {"@HOME@": place, "@PORT@": str(server.getsockname()[1]), "@MARK@": f"{MARK}-{sandbox}"}
        attacks = [
            {"item": ITEMS[language][item], "code": _filled(code, words), "seconds": _seconds(expected)}
            for item, code, expected in table.values()
        ]
        honest = {"item": ITEMS[language]["plain"], "code": HONEST[language], "seconds": 30}
        arguments = {"language": language, "sandbox": sandbox, "attacks": attacks, "honest": honest}
        arguments |= {"mark": words["@MARK@"], "out": home / "out.jsonl"}
        call_as(home, user, "sandbox_support:attack_each", arguments)
        seen = dict(zip(table, files.read_jsonl(home / "out.jsonl"), strict=True))
        with pytest.raises(BlockingIOError):
            server.accept()
    after = {"left": [], "written": [], "honest": "passed"}
    return {
        name: row
        for name, row in seen.items()
        if not _as_expected(row["verdict"], table[name][2]) or {key: row[key] for key in after} != after
    }


def _as_expected(verdict: str, expected: str) -> bool:
    return verdict == expected or (expected != "passed" and re.match(expected, verdict) is not None)


def _filled(code: str, words: dict[str, str]) -> str:
    for word, text in words.items():
        code = code.replace(word, text)
    return code


def _seconds(expected: str) -> float:
    """Short where the attack lasts until the time limit; else long, so that a busy machine changes no verdict."""
    return 1.0 if "timed out" in expected else 20.0

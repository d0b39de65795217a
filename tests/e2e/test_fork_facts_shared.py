"""What forked files share with each other, which is documented, and what they must not share."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.e2e.support.facts import Facts, Seen
from tests.e2e.support.project import Project

RANDOM = """
import multiprocessing, os, random, secrets, ssl, tempfile, uuid
print([
    random.random(), random.SystemRandom().random(), random.Random().random(), secrets.token_hex(),
    uuid.uuid4().hex, uuid.uuid1().hex, os.urandom(8).hex(), ssl.RAND_bytes(8).hex(), os.getpid(),
    next(tempfile._get_candidate_names()), multiprocessing.current_process().authkey.hex(),
    tempfile.mkdtemp(), os.environ["TMPDIR"], os.environ["PASSMUSTER_ATTEMPT"],
])
"""

SHARED = """
import gc, os, sys
def read(name):
    with open(f"/proc/self/{name}", "rb") as file:
        return file.read()
environ = dict(line.partition(b"=")[::2] for line in read("environ").split(b"\\0"))
print([
    hash("text"), read("cmdline"), os.fsencode(os.environ["TMPDIR"]) == environ.get(b"TMPDIR"),
    gc.get_freeze_count() > 0, "unittest" in sys.modules, "argparse" in sys.modules, "pytest" in sys.modules,
])
"""


@pytest.mark.parametrize("way", ["spawn", "fork", "preloaded"])
def test_no_two_files_draw_the_same_random_numbers(
    project: Project, bare_environment: Path, way: str
) -> None:
    programs = dict.fromkeys("abcd", RANDOM)
    facts = Facts(project, str(bare_environment / "bin" / "python"), programs)
    modules = ("multiprocessing", "random", "secrets", "ssl", "tempfile", "uuid")
    drawn = _values(facts.preloaded(modules) if way == "preloaded" else facts.ours(way))
    assert all(len(set(column)) == len(programs) for column in zip(*drawn, strict=True)), drawn


def test_what_forked_files_share_is_what_is_documented(project: Project, bare_environment: Path) -> None:
    facts = Facts(project, str(bare_environment / "bin" / "python"), {"a": SHARED, "b": SHARED})
    forked, spawned = _values(facts.ours("fork")), _values(facts.ours("spawn"))
    assert forked[0] == forked[1]
    assert "--serve" in str(forked[0][1])
    assert forked[0][2:] == [False, True, True, True, False]
    assert spawned[0][0] != spawned[1][0]
    assert spawned[0][2:] == [True, False, False, False, False]


def test_a_hash_seed_that_is_set_holds_for_forked_files(project: Project, bare_environment: Path) -> None:
    programs = {"a": "print(hash('text'), {'a', 'b', 'c', 'd', 'e'})\n"}
    environment = {"PYTHONHASHSEED": "17"}
    facts = Facts(project, str(bare_environment / "bin" / "python"), programs, environment=environment)
    assert facts.ours("fork") == facts.ours("spawn") == facts.plain()


def _values(seen: Seen) -> list[list[object]]:
    """Return the list that each program printed."""
    return [list(ast.literal_eval(text)) for text, _ in seen.values()]

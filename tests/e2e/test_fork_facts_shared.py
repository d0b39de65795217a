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

GENERATORS = """
import random, time

class Dice(random.Random):
    def seed(self, *seeds):
        super().seed(*seeds)

class Box:
    __slots__ = ("inner",)

by_chance = [random.Random(), Dice(), random.Random(None), random.Random(time.time()), random.Random(3)]
by_chance[-1].seed()
box = Box()
box.inner = {"deep": [random.Random()]}
by_value = [random.Random(42), random.Random("text"), random.Random(), random.Random(1)]
by_value[2].seed(b"bytes")
by_value[3].random()
secure = random.SystemRandom()
"""
"""A module that holds generators; it says of each how it was seeded."""

DRAWS = """
import random
import generators
chosen = [*generators.by_chance, *generators.box.inner["deep"], generators.secure, random]
print([each.random() for each in chosen])
print([each.random() for each in generators.by_value])
"""

NUMPY = """
import secrets

class Sequence:
    def __init__(self, entropy):
        self.entropy = secrets.randbits(128) if entropy is None else entropy

class BitGenerator:
    def __init__(self, seed=None):
        self.seed_seq = Sequence(seed)

    def __getstate__(self):
        return vars(self)

    def __setstate__(self, state):
        vars(self).update(state)
"""
"""Stands for `numpy.random`: its generators keep what they were seeded with."""

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


def test_generators_of_a_preloaded_module_are_seeded_anew_unless_they_have_a_value(
    project: Project, bare_environment: Path
) -> None:
    facts = Facts(
        project,
        str(bare_environment / "bin" / "python"),
        dict.fromkeys("abc", DRAWS),
        others={"lib/generators.py": GENERATORS},
        environment={"PYTHONPATH": "lib"},
    )
    forked, plain = (
        [[ast.literal_eval(line) for line in text.splitlines()] for text, _ in seen.values()]
        for seen in (facts.preloaded(["generators"], own={"generators": "lib/generators.py"}), facts.plain())
    )
    drawn = [by_chance for by_chance, _ in (*forked, *plain)]
    assert all(len(set(column)) == len(drawn) for column in zip(*drawn, strict=True)), drawn
    assert {str(by_value) for _, by_value in (*forked, *plain)} == {str(plain[0][1])}


def test_a_preloaded_module_that_seeds_the_common_generator_has_seeded_it_in_a_forked_file(
    project: Project, bare_environment: Path
) -> None:
    facts = Facts(
        project,
        str(bare_environment / "bin" / "python"),
        dict.fromkeys("ab", "import random, seeds\nprint(random.random(), random.getrandbits(64))\n"),
        others={"lib/seeds.py": "import random\nrandom.seed(7)\n"},
        environment={"PYTHONPATH": "lib"},
    )
    assert facts.preloaded(["seeds"], own={"seeds": "lib/seeds.py"}) == facts.plain()


def test_generators_of_numpy_are_seeded_anew_unless_they_have_a_value(
    project: Project, bare_environment: Path
) -> None:
    source = """
        import draws
        print([draws.by_chance.seed_seq.entropy, draws.by_value.seed_seq.entropy])
    """
    others = {
        "lib/numpy/__init__.py": "",
        "lib/numpy/random.py": NUMPY,
        "lib/draws.py": "from numpy.random import BitGenerator as B\nby_chance = B()\nby_value = B(42)\n",
    }
    facts = Facts(
        project,
        str(bare_environment / "bin" / "python"),
        dict.fromkeys("ab", source),
        others=others,
        environment={"PYTHONPATH": "lib"},
    )
    own = {name: f"lib/{name}.py" for name in ("draws", "numpy/__init__", "numpy/random")}
    own = {name.removesuffix("/__init__").replace("/", "."): file for name, file in own.items()}
    (first, one), (second, other) = _values(facts.preloaded(["draws"], own=own))
    assert first != second
    assert one == other == 42


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

"""Which sets of modules are imported ahead, and that no file gets a module that it does not import."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.forkserver.file_imports import Preloadable
from worker.forkserver.import_sets import MIN_GAIN_S, Choice, choose_import_sets, serves
from worker.forkserver.module_costs import ModuleCost

PLENTY = 2**40

NAMES = (
    "os",
    "re",
    "numpy",
    "pandas",
    "pandas.io",
    "pandas:DataFrame",
    "xml",
    "xml.dom",
    "xml:dom",
    "flask",
    "a:b",
)

files = st.lists(
    st.lists(st.sampled_from(NAMES), unique=True).map(lambda names: Preloadable(modules=tuple(names))),
    max_size=12,
).map(lambda needs: {f"test_{number}.py": need for number, need in enumerate(needs)})
facts_of_modules = st.dictionaries(
    st.sampled_from(NAMES),
    st.builds(
        ModuleCost,
        seconds=st.floats(0, 2),
        bytes=st.integers(0, 2**30),
        verdict=st.sampled_from(["ok", "attribute", "prints", "missing"]),
    ),
)


def needs(*groups: tuple[int, str]) -> dict[str, Preloadable]:
    made = [Preloadable(modules=tuple(names.split())) for count, names in groups for _ in range(count)]
    return {f"test_{number:03}.py": need for number, need in enumerate(made)}


def known(**seconds: float) -> dict[str, ModuleCost]:
    return {
        name.replace("__", "."): ModuleCost(seconds=spent, bytes=2**20, verdict="ok")
        for name, spent in seconds.items()
    }


def chosen(choice: Choice) -> list[tuple[str, int]]:
    return [(" ".join(found.modules), found.files) for found in choice.sets]


def imported_by(need: Preloadable) -> set[str]:
    """All names that a file's imports bring, in both spellings of what may be a submodule."""
    found: set[str] = set()
    for name in need.modules:
        parts = name.replace(":", ".").split(".")
        found |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)} | {name}
    return found


@given(files, facts_of_modules, st.integers(0, 4), st.sampled_from([0, 2**22, 2**26, PLENTY]))
def test_whatever_the_files_need_the_choice_keeps_its_promises(
    files: Mapping[str, Preloadable], facts: Mapping[str, ModuleCost], max_sets: int, max_bytes: int
) -> None:
    choice = choose_import_sets(files, facts, base={"re"}, max_sets=max_sets, max_bytes=max_bytes)

    assert len(choice.sets) <= max_sets
    assert choice.saved_s >= 0
    assert sum(found.bytes for found in choice.sets) <= max_bytes
    for path in files:
        found = choice.set_of(path)
        if found is not None:
            assert set(found.modules) <= imported_by(files[path])
            assert serves(found.modules, files[path], {"re"})
            assert choice.without(path).set_of(path) is None
    for place, found in enumerate(choice.sets):
        before = () if found.parent is None else choice.sets[found.parent].modules
        assert found.parent is None or found.parent < place
        assert found.modules == (*before, *found.added)
        assert found.added
        assert found.files == list(choice.places.values()).count(place)
        assert "re" not in found.modules
        assert all(facts[name].is_allowed for name in found.modules if name in facts)
        assert len(set(found.modules)) == len(found.modules)


@given(files, facts_of_modules, st.randoms(use_true_random=False))
def test_the_same_files_always_make_the_same_choice(
    files: dict[str, Preloadable], facts: dict[str, ModuleCost], random: Random
) -> None:
    shuffled = sorted(files)
    random.shuffle(shuffled)

    first = choose_import_sets(files, facts, max_bytes=PLENTY)
    second = choose_import_sets(
        {path: files[path] for path in shuffled}, dict(reversed(facts.items())), max_bytes=PLENTY
    )

    assert first == second


def test_a_project_with_several_stacks_gets_a_set_for_each() -> None:
    choice = choose_import_sets(
        needs((5, "os flask sqlalchemy"), (5, "fastapi pydantic"), (5, "django celery"), (5, "numpy pandas")),
        {},
        base={"os"},
        max_bytes=PLENTY,
    )

    assert sorted(chosen(choice)) == [
        ("django celery", 5),
        ("fastapi pydantic", 5),
        ("flask sqlalchemy", 5),
        ("numpy pandas", 5),
    ]
    assert choice.saved_s == pytest.approx(4 * 4 * 0.2)


def test_a_set_extends_a_smaller_one() -> None:
    facts = known(numpy=0.2, pandas=0.5)

    choice = choose_import_sets(needs((10, "numpy"), (10, "numpy pandas")), facts, max_bytes=PLENTY)

    assert chosen(choice) == [("numpy", 10), ("numpy pandas", 10)]
    small, large = choice.sets
    assert (small.parent, large.parent) == (None, 0)
    assert large.added == ("pandas",)
    assert large.seconds == pytest.approx(0.5)
    assert large.bytes == 2**20


def test_modules_are_imported_in_the_order_of_the_files() -> None:
    choice = choose_import_sets(
        needs((3, "zoo numpy apple")), known(zoo=1, numpy=1, apple=1), max_bytes=PLENTY
    )

    assert chosen(choice) == [("zoo numpy apple", 3)]


def test_a_set_that_saves_little_or_serves_one_file_is_not_built() -> None:
    little = MIN_GAIN_S / 4

    assert chosen(choose_import_sets(needs((4, "cheap")), known(cheap=little), max_bytes=PLENTY)) == []
    assert chosen(choose_import_sets(needs((9, "cheap")), known(cheap=little), max_bytes=PLENTY)) == [
        ("cheap", 9)
    ]
    assert chosen(choose_import_sets(needs((1, "dear"), (1, "dearer")), {}, max_bytes=PLENTY)) == []


def test_many_small_sets_share_what_they_have_in_common() -> None:
    made = needs(*((1, f"support own{number} json") for number in range(40)))
    facts = known(support=0.05, json=0.004) | {
        f"own{number}": ModuleCost(seconds=0.002, bytes=1, verdict="ok") for number in range(40)
    }

    assert chosen(choose_import_sets(made, facts, max_bytes=PLENTY)) == [("support json", 40)]


def test_files_that_import_nothing_but_the_base_need_no_set() -> None:
    assert (
        choose_import_sets(needs((50, "pytest unittest")), {}, base={"pytest", "unittest"}, max_bytes=PLENTY)
        == Choice()
    )
    assert choose_import_sets({}, {}, max_bytes=PLENTY) == Choice()


def test_memory_bounds_the_sets() -> None:
    facts = {
        "huge": ModuleCost(seconds=5, bytes=2**30, verdict="ok"),
        "small": ModuleCost(seconds=1, bytes=2**20, verdict="ok"),
    }
    made = needs((9, "huge small"), (2, "small"))

    assert chosen(choose_import_sets(made, facts, max_bytes=2**25)) == [("small", 11)]
    assert chosen(choose_import_sets(made, facts, max_bytes=2**31))[-1] == ("small huge", 9)


@pytest.mark.parametrize("verdict", ["prints", "missing", "outside", "raises ImportError: no"])
def test_a_module_that_is_not_clean_is_left_out_with_its_parts(verdict: str) -> None:
    facts = known(numpy=0.2, bad__part=1.0) | {"bad": ModuleCost(seconds=1, bytes=1, verdict=verdict)}

    assert chosen(choose_import_sets(needs((5, "bad bad.part bad:x numpy")), facts, max_bytes=PLENTY)) == [
        ("numpy", 5)
    ]


def test_both_spellings_of_a_submodule_are_one() -> None:
    facts = known(unittest=0.01, unittest__mock=0.5)

    choice = choose_import_sets(
        needs((2, "unittest unittest:mock"), (2, "unittest.mock")), facts, max_bytes=PLENTY
    )

    assert chosen(choice) == [("unittest unittest.mock", 4)]


@pytest.mark.parametrize(("verdict", "modules"), [("ok", "scipy scipy.stats"), ("prints", "scipy")])
def test_what_is_known_of_one_spelling_counts_for_the_other(verdict: str, modules: str) -> None:
    facts = known(scipy=0.1) | {"scipy:stats": ModuleCost(seconds=2, bytes=1, verdict=verdict)}

    choice = choose_import_sets(needs((2, "scipy scipy:stats"), (2, "scipy.stats")), facts, max_bytes=PLENTY)

    assert chosen(choice) == [(modules, 4)]
    assert choice.sets[0].seconds == pytest.approx(2.1 if verdict == "ok" else 0.1)


def test_what_is_only_taken_out_of_a_module_makes_no_difference() -> None:
    facts = known(numpy=0.5) | {
        f"numpy:{name}": ModuleCost(seconds=0, bytes=0, verdict="attribute") for name in ("array", "zeros")
    }

    choice = choose_import_sets(
        needs((2, "numpy numpy:array"), (2, "numpy numpy:zeros")), facts, max_bytes=PLENTY
    )

    assert chosen(choice) == [("numpy", 4)]


def test_no_more_sets_than_allowed() -> None:
    made = needs(*((5, f"stack{number}") for number in range(12)))

    assert len(choose_import_sets(made, {}, max_bytes=PLENTY).sets) == 8
    assert len(choose_import_sets(made, {}, max_sets=3, max_bytes=PLENTY).sets) == 3
    assert choose_import_sets(made, {}, max_sets=0, max_bytes=PLENTY) == Choice()


def test_smaller_sets_come_first() -> None:
    made = needs((9, "a b c d"), (9, "a b c"), (9, "a b"), (9, "a"))

    sizes = [len(found.modules) for found in choose_import_sets(made, {}, max_bytes=PLENTY).sets]

    assert sizes == [1, 2, 3, 4]
    assert all(one < other for one, other in pairwise(sizes))


def ordered(*groups: tuple[int, str]) -> dict[str, Preloadable]:
    """Return the needs of files. Modules in lower case are the project's, those with `w` are writers."""
    return {
        path: Preloadable(
            modules=need.modules,
            own=frozenset(name for name in need.modules if name.islower()),
            writers=frozenset(name for name in need.modules if name.startswith("w")),
        )
        for path, need in needs(*groups).items()
    }


COSTS = known(w=0.0, w1=0.2, w2=0.2, a=0.5, b=0.5, cheap=0.0, Numpy=1.0)


@pytest.mark.parametrize(
    ("groups", "sets"),
    [
        ([(2, "w Numpy")], [("w Numpy", 2)]),
        ([(2, "cheap w a cheaper")], [("cheap w a cheaper", 2)]),
        # What comes before a writer in one file, and after it or not at all in others, is not shared.
        ([(2, "w a"), (2, "a w")], [("w a", 2), ("a w", 2)]),
        ([(2, "w a"), (2, "a")], [("w a", 2), ("a", 2)]),
        ([(2, "w1 w2"), (3, "w2 w1")], [("w1 w2", 2), ("w2 w1", 3)]),
        ([(2, "a w1 b"), (3, "b w1 a")], [("a w1 b", 2), ("b w1 a", 3)]),
        ([(2, "cheap w1 a"), (3, "w1 a")], [("cheap w1 a", 2), ("w1 a", 3)]),
        # Installed modules do not see what the project's modules change in each other.
        ([(2, "Numpy w1"), (3, "w1")], [("w1", 3), ("w1 Numpy", 2)]),
        ([(2, "a w1 b"), (3, "a w1 Numpy b")], [("a w1 b", 2), ("a w1 b Numpy", 3)]),
        # The order of the others does not matter.
        ([(2, "a b w1"), (3, "b a w1")], [("a b w1", 5)]),
        ([(2, "a b"), (3, "b a")], [("a b", 5)]),
    ],
)
def test_a_server_has_a_writer_where_it_stands_in_the_files_with_all_that_precedes_it(
    groups: list[tuple[int, str]], sets: list[tuple[str, int]]
) -> None:
    choice = choose_import_sets(ordered(*groups), COSTS, max_bytes=PLENTY)

    assert sorted((names, files) for names, files in chosen(choice) if files) == sorted(sets)


in_order = st.lists(
    st.lists(st.sampled_from(("w1", "w2", "w3", "a", "b", "c", "Numpy", "Os")), unique=True),
    max_size=12,
).map(lambda lists: ordered(*((2, " ".join(names)) for names in lists if names)))


@given(in_order, st.dictionaries(st.sampled_from(("w1", "w2", "a", "b")), st.sampled_from((0.0, 0.3))))
def test_whatever_the_order_each_writer_finds_what_it_finds_in_the_file(
    files: Mapping[str, Preloadable], seconds: Mapping[str, float]
) -> None:
    choice = choose_import_sets(files, known(**seconds), max_bytes=PLENTY)

    for path, need in files.items():
        found = choice.set_of(path)
        assert found is None or serves(found.modules, need, ())
        server = [] if found is None else [name for name in found.modules if name in need.own]
        alone = [name for name in need.modules if name in need.own]
        forked = [*server, *(name for name in alone if name not in server)]
        for writer in need.writers:
            assert set(forked[: forked.index(writer)]) == set(alone[: alone.index(writer)])


def test_what_follows_a_writer_that_cannot_be_preloaded_is_left_to_the_files() -> None:
    facts = COSTS | {"w": ModuleCost(seconds=1, bytes=1, verdict="prints")}

    assert chosen(choose_import_sets(ordered((4, "a w b Numpy")), facts, max_bytes=PLENTY)) == [("a", 4)]


@pytest.mark.parametrize(
    ("modules", "imports", "is_served"),
    [
        ("a b", "b a Numpy", True),
        ("a b", "a Numpy", False),
        ("Xml Xml.dom", "Xml:dom", True),
        ("a w1 b", "a w1 b c", True),
        ("a w1 b", "w1 a b", False),
        ("a w1 b", "a b w1", False),
        ("a w1", "a cheap w1", False),
        ("a b", "a w1 b", False),
        ("a w1 w2", "a w2 w1", False),
        ("a b", "w3 a b", True),  # The base has `w3`.
    ],
)
def test_a_server_still_serves_a_file_that_has_changed_if_the_order_has_not(
    modules: str, imports: str, *, is_served: bool
) -> None:
    (need,) = ordered((1, imports)).values()

    assert serves(modules.split(), need, {"w3"}) is is_served

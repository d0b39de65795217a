"""Which differences between then and now make a file run, and which do not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.inputs import tree_state
from dispatcher.inputs.affected import (
    FORKED,
    NEVER_RAN,
    NOT_RECORDED,
    OTHER_ENVIRONMENT,
    OTHER_SETTINGS,
    AffectedFiles,
    Candidate,
    affected_lines,
)
from dispatcher.inputs.record import InputRecord
from dispatcher.inputs.reference import Changes
from dispatcher.inputs.tree_state import FILE, TreeState, keys_of
from passmuster.model.inputs import FileInputs, Listing
from passmuster.model.status import Status

PATH = "tests/test_a.py"
INPUTS = FileInputs(
    read=(PATH, "package/a.py", "data/one.txt"),
    absent=("local.ini",),
    listed=(
        Listing("data", "*"),
        Listing(".", "*-info"),
        Listing(".", "*/app.json"),
        Listing("more", "test*/conftest.py"),
    ),
    modules=("package/a", "package/optional"),
    path=(".", "tests"),
    names=("package", "json", "helpers"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in (PATH, "package/a.py", "data/one.txt", "tests/other.py", "readme.md"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def record_of(root: Path) -> InputRecord:
    tree = TreeState(root)
    states = {key: tree(key) for key in keys_of(PATH, INPUTS, tree.modules_in) if tree(key)}
    return InputRecord(inputs=INPUTS, states=states, environment="e", settings="s")


def candidate(*records: InputRecord, status: Status | None = Status.PASS) -> Candidate:
    return Candidate(path=PATH, settings="s", seed="", is_spawned=False, last_status=status, records=records)


def reasons(root: Path, file: Candidate, changes: Changes | None = None) -> tuple[str, ...]:
    return AffectedFiles(TreeState(root), "e", changes).reasons(file)


def write(name: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("new")

    return change


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def link(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).symlink_to("elsewhere")


def test_a_file_whose_inputs_are_the_same_is_not_affected(root: Path) -> None:
    record = record_of(root)
    (root / "package/a.py").touch()
    write("tests/test_b.py")(root)
    write("readme.md")(root)
    write("package/unrelated.py")(root)
    write("tests/__pycache__/x.pyc")(root)
    link("package/.#a.py")(root)  # An editor locks a file.

    assert reasons(root, candidate(record)) == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (write(PATH), f"{PATH} changed"),
        (write("package/a.py"), "package/a.py changed"),
        (remove("package/a.py"), "package/a.py is gone"),
        (write("local.ini"), "local.ini is new"),
        (write("data/two.txt"), "the names * in data changed"),
        (write("x.egg-info/PKG-INFO"), "the names *-info in . changed"),
        (write("data/app.json"), "the names */app.json in . changed"),
        (write(".data/app.json"), "the names */app.json in . changed"),
        (write("../pytest.ini"), "a configuration file of pytest above the root changed"),
        (write("json.py"), "module json was missing and is .py"),
        (write("tests/helpers/anything.txt"), "module tests/helpers was missing and is folder"),
        (write("package/optional.py"), "module package/optional was missing and is .py"),
        (write("package/a/b.py"), "module package/a was .py and is .py, folder"),
        (write("package/__init__.py"), "module package was folder and is package"),
        (write("tests/conftest.py"), "module tests/conftest was missing and is .py"),
        (write("conftest.py"), "module conftest was missing and is .py"),
        (write("more/conftest.py"), "module more/conftest was missing and is .py"),
        (write("more/tests/conftest.py"), "the names test*/conftest.py in more changed"),
        (write("tests/__init__.py"), "module tests/__init__ was missing and is .py"),
        (write("pyproject.toml"), "pyproject.toml is new"),
        (write("tests/pytest.ini"), "tests/pytest.ini is new"),
        (link("data/current"), "the symbolic links in data changed"),
        (link("current"), "the symbolic links in . changed"),
    ],
)
def test_each_change_of_an_input_is_a_reason(
    root: Path, change: Callable[[Path], object], reason: str
) -> None:
    record = record_of(root)
    change(root)

    assert reason in reasons(root, candidate(record))


def test_what_is_not_known_is_a_reason(root: Path) -> None:
    record = record_of(root)
    unsure = structs.replace(record, inputs=FileInputs(unsure="it forks"))

    assert reasons(root, candidate(status=None)) == (NEVER_RAN,)
    assert reasons(root, candidate()) == (NOT_RECORDED,)
    assert reasons(root, candidate(record, status=Status.TIMEOUT)) == ("its last run ended with TIMEOUT",)
    assert reasons(root, candidate(unsure)) == ("it forks",)
    assert reasons(root, candidate(structs.replace(record, environment="f"))) == (OTHER_ENVIRONMENT,)
    assert reasons(root, candidate(structs.replace(record, environment=""))) == (OTHER_ENVIRONMENT,)
    assert reasons(root, candidate(structs.replace(record, settings="t"))) == (OTHER_SETTINGS,)
    forked = candidate(structs.replace(record, was_forked=True))
    assert reasons(root, forked) == ()
    assert reasons(root, structs.replace(forked, is_spawned=True)) == (FORKED,)
    assert reasons(root, structs.replace(candidate(record), is_spawned=True)) == ()


def test_a_file_that_changes_while_it_is_read_for_long_is_read_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, key = TreeState(root), FILE + "data/one.txt"
    now = [(root / "data/one.txt").stat().st_ctime]
    digests = ["before", "after"]

    def read_slowly(_path: str) -> str:
        now[0] += 1
        return digests.pop(0)

    monkeypatch.setattr(tree_state, "_hash_file", read_slowly)
    monkeypatch.setattr(time, "time", lambda: now[0])

    assert tree(key) == "before"
    tree.refresh()
    assert tree(key) == "after"


def test_one_of_several_passes_with_these_inputs_is_enough(root: Path) -> None:
    before = record_of(root)
    write("package/a.py")(root)

    assert reasons(root, candidate(before)) == ("package/a.py changed",)
    assert reasons(root, candidate(before, record_of(root))) == ()


@pytest.mark.parametrize(
    ("changed", "moved", "reason"),
    [
        ("package/a.py", "", "package/a.py differs from main"),
        ("data", "", "data/one.txt differs from main"),
        ("local.ini", "local.ini", "local.ini differs from main"),
        ("data/old.txt", "data/old.txt", "data/* differs from main"),
        ("data/app.json", "data/app.json", "*/app.json differs from main"),
        ("json.py", "json.py", "module json in . differs from main"),
        (
            "tests/helpers/__init__.py",
            "tests/helpers/__init__.py",
            "module helpers in tests differs from main",
        ),
        ("tests/conftest.py", "tests/conftest.py", "tests/conftest differs from main"),
    ],
)
def test_a_difference_from_the_commit_is_a_reason_although_the_file_passed_with_it(
    root: Path, changed: str, moved: str, reason: str
) -> None:
    changes = Changes("main", [changed], filter(None, [moved]))

    assert reason in reasons(root, candidate(record_of(root)), changes)


def test_other_differences_from_the_commit_are_none(root: Path) -> None:
    changes = Changes("main", ["readme.md", "tests/test_b.py", "package/b.py"], ["tests/test_b.py"])

    assert reasons(root, candidate(record_of(root)), changes) == ()


@pytest.mark.parametrize(
    "more",
    [
        {"has_network": True},
        {"read": (*INPUTS.read, "/etc/hosts")},
        {"absent": ("/etc/none",)},
        {"listed": (Listing("/etc", "*"),)},
    ],
    ids=str,
)
def test_a_file_that_depends_on_more_than_the_project_is_never_cached(
    root: Path, more: dict[str, object]
) -> None:
    record = record_of(root)
    judge = AffectedFiles(TreeState(root), "e", None)
    other = structs.replace(record, inputs=structs.replace(INPUTS, **more))

    assert judge.is_cached(candidate(record))
    assert not judge.is_cached(candidate(other))
    assert judge.is_cached(candidate(other, record))


def test_only_a_file_whose_last_run_passed_is_cached(root: Path) -> None:
    record = record_of(root)
    write("package/a.py")(root)
    judge = AffectedFiles(TreeState(root), "e", None)

    assert not judge.is_cached(candidate(record))
    assert not judge.is_cached(candidate())
    assert not judge.is_cached(candidate(record_of(root), status=Status.FAIL))
    assert not judge.is_cached(candidate(record_of(root), status=None))


def test_a_file_is_cached_only_if_its_tests_ran_in_the_same_order(root: Path) -> None:
    record = record_of(root)
    shuffled = structs.replace(candidate(record), seed="1")
    judge = AffectedFiles(TreeState(root), "e", None)

    assert not judge.is_cached(shuffled)
    assert judge.is_cached(structs.replace(shuffled, records=(structs.replace(record, seed="1"),)))
    assert judge.reasons(shuffled) == ()


def test_a_line_names_the_first_reason_and_counts_the_others() -> None:
    said = [("a.py", ["x changed", "y changed", "z changed"]), ("b.py", ["x changed"]), ("c.py", [])]

    assert list(affected_lines(said)) == ["a.py: x changed (and 2 more)", "b.py: x changed"]

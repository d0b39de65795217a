"""Records of inputs: what a run stores, and when it stores that the inputs are not known."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.inputs.record import (
    CHANGED_MEANWHILE,
    FLAKY,
    OTHER_INTERPRETER,
    InputRecord,
    decode_record,
    encode_record,
    make_records,
    measure_inputs,
)
from dispatcher.inputs.tree_state import TreeState
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.results import FileAttempts
from passmuster.model.inputs import FileInputs, Listing
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status
from passmuster.model.task import TestTask
from passmuster.model.test_selection import TestSelection

FILE = TestFile(path="tests/test_a.py", label="tests/test_a.py")
PLAN = RunPlan(run_id="r", files=(PlannedFile(file=FILE, task=TestTask(run_id="r", file_path=FILE.path)),))
INPUTS = FileInputs(
    read=("tests/test_a.py", "package/a.py"),
    absent=("package/b.ini",),
    listed=(Listing("package", "*"),),
    modules=("package/c",),
    path=(".",),
    names=("package", "json"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("tests/test_a.py", "package/a.py", "pyproject.toml", "other.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def attempts(*results: TestResult, file: TestFile = FILE) -> FileAttempts:
    return FileAttempts(file=file, attempts=results)


def passed(inputs: FileInputs | None = INPUTS, **values: object) -> TestResult:
    result = TestResult(file_path=FILE.path, status=Status.PASS, inputs=inputs, interpreter="P")
    return structs.replace(result, **values)


def stored(root: Path, record: FileAttempts, *, started_at: float | None = None) -> dict[str, InputRecord]:
    newest = max(path.stat().st_ctime for path in root.rglob("*"))
    measured = measure_inputs(
        [record],
        TreeState(root),
        started_at=newest + 1 if started_at is None else started_at,
        environment="e",
        workdir=".",
        is_interpreter_known="P".__eq__,
    )
    return dict(make_records(PLAN, [record], [measured]))


def test_the_state_of_each_input_is_stored_and_survives_encoding(root: Path) -> None:
    record = stored(root, attempts(passed()))[FILE.path]

    assert set(record.states) == {
        *("file tests/test_a.py", "file package/a.py", "file pyproject.toml"),
        *("names package\0*", "module package"),
    }
    assert record.inputs == INPUTS
    assert (record.environment, record.was_forked) == ("e", False)
    forked = attempts(passed(isolation=Isolation.FORK))
    assert stored(root, forked)[FILE.path].was_forked
    assert decode_record(encode_record(record)) == record
    assert decode_record(b"damaged") is None


def test_an_input_that_changed_after_the_start_makes_the_record_unsure(root: Path) -> None:
    changed_at = (root / "package/a.py").stat().st_ctime

    record = stored(root, attempts(passed()), started_at=changed_at - 1)[FILE.path]
    resumed = stored(root, attempts(passed(started_at=changed_at - 1)))[FILE.path]

    assert record.inputs.unsure == CHANGED_MEANWHILE
    assert resumed.inputs.unsure == CHANGED_MEANWHILE


def test_a_file_that_was_read_and_is_gone_makes_the_record_unsure(root: Path) -> None:
    (root / "package/a.py").unlink()

    assert stored(root, attempts(passed()))[FILE.path].inputs.unsure == CHANGED_MEANWHILE


def test_a_result_of_another_interpreter_makes_the_record_unsure(root: Path) -> None:
    record = stored(root, attempts(passed(interpreter="Q")))[FILE.path]

    assert record.inputs.unsure == OTHER_INTERPRETER


@pytest.mark.parametrize(
    "record",
    [
        attempts(passed(None)),
        attempts(passed(status=Status.FAIL)),
        attempts(passed(), file=structs.replace(FILE, selection=TestSelection(keyword="x"))),
    ],
    ids=["not recorded", "failed", "some tests only"],
)
def test_only_an_undisputed_pass_of_the_whole_file_is_stored(root: Path, record: FileAttempts) -> None:
    assert stored(root, record) == {}


def test_a_flaky_pass_replaces_an_earlier_undisputed_one(root: Path) -> None:
    record = stored(root, attempts(passed(status=Status.FAIL), passed()))[FILE.path]

    assert record.inputs == FileInputs(unsure=FLAKY)


def test_an_edit_that_keeps_size_and_time_of_a_file_is_seen(root: Path) -> None:
    path = root / "package/a.py"
    tree, status = TreeState(root), path.stat()
    before = tree("file package/a.py")

    path.write_text("X" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    tree.refresh()

    assert tree("file package/a.py") != before


def test_shared_inputs_are_the_same_ones() -> None:
    assert INPUTS.shared() == INPUTS
    assert FileInputs(names=("".join(["js", "on"]),)).shared().names[0] is INPUTS.shared().names[1]

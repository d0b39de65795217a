"""Output is stored under a safe and unique name, readable for the user only."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model.events import AttemptFinished, Notice
from dispatcher.model.plan import TestFile
from dispatcher.reporters.outputs import OutputReporter, safe_name
from passmuster.model.errors import InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.status import Status

PARTS = st.text(
    alphabet=st.characters(exclude_characters="/\x00"), min_size=1, max_size=12
) | st.sampled_from(
    ["..", ".", "a.log", "a.2", "a", "a.stacks", "%2E%2E", "a" * 300, "ä" * 150, "a" * 299 + "b"]
)
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


def finished(path: str, output: str, *, attempt: int = 1, stacks: str = "") -> AttemptFinished:
    result = TestResult(file_path=path, status=Status.FAIL, output=output, attempt=attempt, stacks=stacks)
    return AttemptFinished(at_s=0, file=TestFile(path=path, label=path), result=result)


def names(path: str) -> set[str]:
    """Every file and folder that keeping two attempts of `path` makes, without the top."""
    base = safe_name(path)
    return {f"{base}{attempt}{ending}" for attempt in ("", ".2") for ending in (".log", ".stacks")}


def test_each_attempt_is_kept_as_it_was_printed(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "r1"
    reporter = OutputReporter(run)
    reporter.handle(Notice(at_s=0, text="nothing to keep"))
    reporter.handle(finished("tests/test_a.py", "\x1b[31mred\x00\r\n größe \udcff"))
    reporter.handle(finished("tests/test_a.py", "again", attempt=2, stacks="Thread 1"))
    reporter.handle(finished("test_b.py", ""))
    reporter.close()
    kept = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert kept == {
        "tests/test_a.py.log": "\x1b[31mred\x00\r\n größe \\udcff".encode(),
        "tests/test_a.py.2.log": b"again",
        "tests/test_a.py.2.stacks": b"Thread 1",
        "test_b.py.log": b"",
    }


def test_only_the_user_can_read_what_is_kept(tmp_path: Path) -> None:
    run = tmp_path / "r1"
    OutputReporter(run).handle(finished("a/b/c.py", "secret"))
    for path in (run, *run.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@given(PATHS)
def test_a_name_stays_inside_and_can_be_created(path: str) -> None:
    for part in safe_name(path).split("/"):
        assert part not in ("", ".", "..")
        assert part.isprintable()
        assert "\\" not in part
        assert len(part.encode()) <= 230


@given(PATHS, PATHS)
def test_two_files_never_share_a_log(one: str, other: str) -> None:
    if one == other:
        return
    assert not names(one) & names(other)
    # No log of one may be needed as a folder by the other.
    assert not any(name.startswith(f"{log}/") for log in names(one) for name in names(other))


def test_unusual_names_are_readable() -> None:
    assert safe_name("tests/größe 1.py") == "tests/größe 1.py"
    assert safe_name("../a\nb/\udcff.py") == "%2E%2E/a%0Ab/%ED%B3%BF.py"
    assert safe_name("x.log/t.py.2") == "x%2Elog/t.py%2E2"


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    run = tmp_path / "r1"
    run.mkdir()
    (run / "t.py.log").symlink_to(victim)
    with pytest.raises(InfrastructureError, match="cannot store outputs"):
        OutputReporter(run).handle(finished("t.py", "evil"))
    assert victim.read_text() == "precious"


def test_a_directory_that_a_test_removed_is_created_again(tmp_path: Path) -> None:
    run = tmp_path / "state" / "runs" / "r1"
    reporter = OutputReporter(run)
    reporter.handle(finished("t/a.py", "one"))
    shutil.rmtree(tmp_path / "state")
    reporter.handle(finished("t/b.py", "two"))
    assert (run / "t" / "b.py.log").read_text() == "two"


def test_what_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "r1").touch()
    with pytest.raises(InfrastructureError, match="cannot store outputs"):
        OutputReporter(tmp_path / "r1").handle(finished("t.py", "x"))

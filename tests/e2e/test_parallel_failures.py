"""A file that fails only in parallel with another one fails, is named, and runs exclusively in later runs."""

from __future__ import annotations

from tests.e2e.support.project import Project

HOLDS = """
import pathlib, time
pathlib.Path('port').touch()
deadline_s = time.monotonic() + 20
while not pathlib.Path('tried').exists() and time.monotonic() < deadline_s:
    time.sleep(0.01)
pathlib.Path('port').unlink()
"""
"""Uses a resource that exists once, until the other file has tried to."""

NEEDS = """
import pathlib, sys, time
deadline_s = time.monotonic() + 20
while not (pathlib.Path('port').exists() or pathlib.Path('tried').exists()) and time.monotonic() < deadline_s:
    time.sleep(0.01)
is_taken = pathlib.Path('port').exists()
pathlib.Path('tried').touch()
sys.exit('the port is taken' if is_taken else 0)
"""


def test_a_file_that_fails_only_in_parallel_fails_is_named_and_runs_exclusively_later(
    project: Project,
) -> None:
    project.write({"tests/test_holds.py": HOLDS, "tests/test_needs.py": NEEDS})

    first = project.run("--jobs", "2", "--runner", "script", "--isolation", "spawn")
    second = project.run("--jobs", "2", "--runner", "script", "--isolation", "spawn")

    assert (first.code, second.code) == (1, 0), str(first)
    assert [ended.status for ended in first.attempts("tests/test_needs.py")] == ["FAIL", "PASS"], str(first)
    assert (
        first.lines_after(
            "[WARN] 1 file(s) failed in parallel and passed when run alone; they run exclusively until "
            "they change:"
        )[0]
        == "  - tests/test_needs.py (in parallel: FAIL)"
    )
    (settled,) = first.of_kind("file-settled")
    assert (settled["status"], settled["finding"]) == ("FAIL", "fails-in-parallel")
    assert first.lines[-2:] == ["FAILED TESTS:", "tests/test_needs.py"]
    alone = {event["label"]: event["was_alone"] for event in second.of_kind("file-finished")}
    assert alone["tests/test_needs.py"] is True
    assert len(second.attempts("tests/test_needs.py")) == 1
    assert second.lines[-1] == "[PASS] All tests passed! 🎉"

"""Memory: a file's own limit, and the budget of all files together."""

from __future__ import annotations

import re

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.sources import PASSING, script

MB = 1_000_000


def holds(megabytes: int, *, seconds: float) -> str:
    """Return a file that really uses so much memory for so long."""
    return script(f"data = b'x' * {megabytes * MB}\ntime.sleep({seconds})\nprint(len(data))")


LEAK = script(
    """
    kept = []
    while True:
        kept.append(b'x' * 10_000_000)
        time.sleep(0.01)
    """
)
CHILDREN_LEAK = script(
    """
    for _ in range(4):
        if os.fork() == 0:
            data = b'x' * 80_000_000
            time.sleep(600)
    time.sleep(600)
    """
)


@pytest.mark.parametrize("source", [LEAK, CHILDREN_LEAK], ids=["alone", "in its children"])
def test_a_file_over_its_limit_is_stopped_and_says_how_much_and_by_whom(
    project: Project, source: str
) -> None:
    project.write({"tests/test_greedy.py": source, "tests/test_good.py": PASSING})
    outcome = project.run("--memory-limit", "200MB")
    assert outcome.code == 1
    assert outcome.statuses() == {"tests/test_greedy.py": "MEMORY", "tests/test_good.py": "PASS"}
    ended = outcome.final("tests/test_greedy.py")
    assert re.fullmatch(
        r"used \d+(\.\d)? MiB( and growing by [0-9.]+ [KMG]iB/s)?, "
        r"allowed are 191 MiB \(its limit\); killed by the runner",
        ended.error,
    ), ended.error
    # Stopped in time: not far above, and not on suspicion.
    assert 150 * MB < ended.peak_bytes < 600 * MB
    assert f"    Status: MEMORY: {ended.error}" in outcome.lines


def test_files_that_together_exceed_the_budget_all_pass(project: Project) -> None:
    project.write({f"tests/test_{number}.py": holds(300, seconds=0.4) for number in range(4)})
    outcome = project.run("--memory-budget", "700MB", "--jobs", "2", "--isolation", "spawn", timeout_s=50)
    assert outcome.statuses() == {f"tests/test_{number}.py": "PASS" for number in range(4)}, str(outcome)
    assert outcome.code == 0
    assert {ended.rerun_reason for ended in outcome.finished()} <= {None, "evicted"}
    (finished,) = outcome.of_kind("run-finished")
    peak_bytes = finished["peak_bytes"]
    assert isinstance(peak_bytes, int)
    assert 300 * MB < peak_bytes <= 700 * MB


def test_a_file_that_needs_the_whole_budget_runs_alone_and_small_ones_wait(project: Project) -> None:
    project.write({"tests/test_big.py": holds(500, seconds=0.5)})
    project.write({f"tests/test_{number}.py": holds(150, seconds=0.2) for number in range(3)})
    first = project.run("--memory-budget", "600MB", "--jobs", "2", "--isolation", "spawn")
    second = project.run("--memory-budget", "600MB", "--jobs", "2", "--isolation", "spawn")
    for outcome in (first, second):
        assert set(outcome.statuses().values()) == {"PASS"}, str(outcome)
    # The second run knows, so nobody has to make room any more, and somebody waits.
    assert [ended.rerun_reason for ended in second.finished()] == [None] * 4
    assert "memory" in {ended.start_delayed_by for ended in second.finished()}


def test_a_file_that_needs_more_than_the_budget_is_named_and_the_others_pass(project: Project) -> None:
    project.write({"tests/test_greedy.py": LEAK})
    project.write({f"tests/test_{number}.py": holds(60, seconds=0.3) for number in range(3)})
    outcome = project.run("--memory-budget", "300MB", "--jobs", "2")
    statuses = outcome.statuses()
    assert statuses.pop("tests/test_greedy.py") == "MEMORY"
    assert set(statuses.values()) == {"PASS"}, str(outcome)
    assert "(the whole memory budget)" in outcome.final("tests/test_greedy.py").error
    assert "MEMORY 1" in outcome.stdout


def test_a_file_over_its_limit_gets_its_retry_alone(project: Project) -> None:
    once = """
    import pathlib
    mark = pathlib.Path('been_here')
    if not mark.exists():
        mark.write_text('x')
        data = b'x' * 300_000_000
        time.sleep(600)
    """
    project.write({"tests/test_sometimes.py": script(once)})
    outcome = project.run("--memory-limit", "150MB", "--retries", "1", "--isolation", "spawn")
    assert [ended.status for ended in outcome.attempts("tests/test_sometimes.py")] == ["MEMORY", "PASS"]
    assert "  Flaky: 1" in outcome.lines

"""Reports that cannot be written: the run goes on, says so, and does not end as if all were well."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.sources import PASSING, script


@pytest.mark.parametrize("option", ["--events", "--junit-xml"])
def test_a_report_on_a_full_disk_is_named_and_the_files_still_run(project: Project, option: str) -> None:
    project.write({"tests/test_a.py": PASSING})
    (project.root / "report").symlink_to("/dev/full")
    outcome = project.run(option, "report", events=option != "--events")
    assert outcome.code == 3, str(outcome)
    assert "[PASS] tests/test_a.py completed successfully" in outcome.lines
    assert "No space left on device" in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_full_disk_below_the_output_loses_no_result(project: Project) -> None:
    project.write({"tests/test_a.py": PASSING})
    report = project.base / "events.jsonl"
    with Path("/dev/full").open("wb") as full:
        finished = subprocess.run(
            project.command("--events", str(report)),
            cwd=project.root,
            env=project.environment(),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert b"Traceback" not in finished.stderr, finished.stderr.decode()
    assert finished.returncode in (0, 3)
    assert '"status":"PASS"' in report.read_text()


def test_a_file_that_may_write_nothing_more_fails_alone(project: Project) -> None:
    project.write(
        {
            "tests/test_full.py": script("open('/dev/full', 'w').write('x' * 100_000)"),
            "tests/test_good.py": PASSING,
        }
    )
    outcome = project.run()
    assert outcome.statuses() == {"tests/test_full.py": "FAIL", "tests/test_good.py": "PASS"}
    assert "No space left on device" in outcome.final("tests/test_full.py").output

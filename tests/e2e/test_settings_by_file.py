"""Settings that hold for some files only, as a user writes them."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.support.project import Project
from tests.e2e.support.sources import PASSING, script

EXCLUSIVE = script(
    """
    import pathlib, time
    lock = pathlib.Path('in_use')
    lock.mkdir()                # Fails where another one is at it.
    time.sleep(0.2)
    lock.rmdir()
    """
)


def test_serial_files_never_run_beside_each_other(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[[tool.passmuster.overrides]]\nfiles = ['tests/db']\nserial = true\n",
            **{f"tests/db/test_{number}.py": EXCLUSIVE for number in range(5)},
            "tests/test_other.py": PASSING,
        }
    )

    assert project.run("-j", "5").code == 0


def test_a_time_limit_holds_for_the_files_it_was_given_for(project: Project) -> None:
    sleeper = script("import time\ntime.sleep(1.5)")
    project.write(
        {
            "pyproject.toml": "[[tool.passmuster.overrides]]\nfiles = ['tests/test_b*']\ntimeout = '0.3'\n",
            "tests/test_a.py": sleeper,
            "tests/test_b.py": sleeper,
        }
    )

    outcome = project.run("-j", "2", "--grace-period", "100ms")

    assert outcome.code == 1
    assert "TIMEOUT" in outcome.stdout
    assert "SUMMARY: 1 passed, 1 failed" in outcome.stdout


def test_an_override_that_matches_nothing_is_named_and_a_wrong_one_stops_the_run(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[[tool.passmuster.overrides]]\nfiles = ['gone/**']\nretries = 1\n",
            "tests/test_a.py": PASSING,
        }
    )
    warned = project.run()
    Path(project.root, "pyproject.toml").write_text("[[tool.passmuster.overrides]]\nretries = 1\n")
    refused = project.run()

    assert warned.code == 0
    assert "an override matches no test file: gone/**" in warned.stderr
    assert refused.code == 2
    assert refused.stderr.count("\n") == 1
    assert "an override needs files" in refused.stderr

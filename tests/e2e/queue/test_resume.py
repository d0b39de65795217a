"""Going on with a run: after the runner was killed, on this machine and over a queue."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.support.outcome import read_events
from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING, script

COUNTED = script("open('started', 'a').write('x')\n")
WAITS = script(
    """
    open('waits_started', 'a').write('x')
    until = time.monotonic() + 60
    while not os.path.exists('go') and time.monotonic() < until:
        time.sleep(0.02)
    """
)


@pytest.fixture
def broken_off(project: Project) -> Project:
    """A project whose run was killed after its first files, while the last one ran."""
    project.may_leave_tmp = True  # A killed runner cannot remove anything.
    project.write(
        {
            "tests/test_a.py": COUNTED,
            "tests/test_b.py": FAILING,
            "tests/test_c.py": PASSING,
            "tests/test_waits.py": WAITS,
        }
    )
    return project


def kill_at_the_last_file(project: Project, *arguments: str) -> None:
    running = project.start("-j", "2", *arguments)
    running.wait_for_file("waits_started")

    def have_ended() -> bool:
        ended = {event["label"] for event in read_events(running.events) if event["event"] == "file-finished"}
        return len(ended) == 3 and "tests/test_waits.py" not in ended

    wait_until(have_ended, "the other files did not end")
    running.send(signal.SIGKILL)
    running.end()


@pytest.mark.parametrize("arguments", [(), ("--cluster", "1")], ids=["here", "queue"])
def test_a_killed_run_goes_on_where_it_was(broken_off: Project, arguments: tuple[str, ...]) -> None:
    arguments = (*arguments, "--isolation", "spawn")  # A forked pass would run once more to be confirmed.
    kill_at_the_last_file(broken_off, *arguments)
    broken_off.write({"go": "now"})

    outcome = broken_off.run("-j", "1", *arguments, "--resume", "last", "--junit-xml", "report.xml")

    assert outcome.code == 1, str(outcome)
    assert "3 of 4 files have already run" in outcome.stderr
    assert outcome.statuses() == {
        "tests/test_a.py": "PASS",
        "tests/test_b.py": "FAIL",
        "tests/test_c.py": "PASS",
        "tests/test_waits.py": "PASS",
    }
    assert (broken_off.root / "started").read_text() == "x"
    assert (broken_off.root / "waits_started").read_text() == "xx"
    assert 'tests="4"' in (broken_off.root / "report.xml").read_text()


def test_what_had_ended_runs_again_when_it_was_changed(broken_off: Project) -> None:
    kill_at_the_last_file(broken_off)
    broken_off.write({"go": "now", "tests/test_b.py": PASSING})

    outcome = broken_off.run("-j", "1", "--resume", "last")

    assert outcome.code == 0, str(outcome)


def test_a_run_that_ended_or_has_other_files_is_not_gone_on_with(project: Project) -> None:
    project.write({"tests/test_a.py": PASSING})
    project.run()

    over = project.run("--resume", "last")
    assert over.code == 2
    assert "has finished: start a new one without --resume" in over.stderr

    unknown = project.run("--resume", "yesterday")
    assert unknown.code == 2
    assert "there is no run yesterday to resume" in unknown.stderr

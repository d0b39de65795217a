"""What a test process finds in its environment: the caller's own, and little else."""

from __future__ import annotations

from pathlib import Path

from passmuster.model.executor import SlotRange
from passmuster.model.task import TestTask
from worker.process.environment import get_test_environment, printable_attempt


def test_without_a_task_only_the_changes_for_every_file_apply() -> None:
    caller = {"A": "1"}

    assert get_test_environment(caller) == {
        "A": "1",
        "TESTING": "true",
        "TEST_MODE": "mock",
        "PYTHONFAULTHANDLER": "1",
        "PASSMUSTER_SLOT": "0",
        "PYTEST_XDIST_WORKER": "gw0",
        "PYTEST_XDIST_WORKER_COUNT": "1",
    }
    assert caller == {"A": "1"}


def test_the_callers_values_stay_where_the_contract_says_so() -> None:
    caller = {"TESTING": "no", "TEST_MODE": "real", "PYTHONFAULTHANDLER": "", "PASSMUSTER_SLOT": "9"}

    found = get_test_environment(caller, slot=3, slots=SlotRange(first=0, total=8))

    assert found == {
        "TESTING": "true",
        "TEST_MODE": "real",
        "PYTHONFAULTHANDLER": "",
        "PASSMUSTER_SLOT": "3",
        "PYTEST_XDIST_WORKER": "gw3",
        "PYTEST_XDIST_WORKER_COUNT": "8",
    }


def test_a_tasks_own_changes_are_applied_last() -> None:
    task = TestTask(
        run_id="r",
        file_path="a.py",
        attempt=2,
        environment=(
            ("TESTING", None),
            ("MISSING", None),
            ("TMPDIR", "/own"),
            ("NEW", "x"),
            ("PYTEST_XDIST_WORKER", "mine"),
        ),
    )

    found = get_test_environment(
        {"TMPDIR": "/tmp"}, task=task, slot=1, tmp_dir=Path("/private"), coverage_file=Path("/c/data")
    )

    assert found == {
        "TMPDIR": "/own",
        "NEW": "x",
        "TEST_MODE": "mock",
        "PYTHONFAULTHANDLER": "1",
        "PASSMUSTER_SLOT": "1",
        "PYTEST_XDIST_WORKER": "mine",
        "PYTEST_XDIST_WORKER_COUNT": "2",
        "PYTEST_XDIST_TESTRUNUID": "454349e422f05297191ead13e21d3db5",
        "PASSMUSTER_ATTEMPT": "r:a.py#2",
        "COVERAGE_FILE": "/c/data",
    }


def test_a_file_has_the_number_that_its_slot_has_in_the_run() -> None:
    task = TestTask(run_id="r", file_path="a.py")

    found = get_test_environment({}, task=task, slot=1, slots=SlotRange(first=4, total=6))

    assert (found["PASSMUSTER_SLOT"], found["PYTEST_XDIST_WORKER"]) == ("5", "gw5")
    assert found["PYTEST_XDIST_WORKER_COUNT"] == "6"


def test_a_number_of_slots_that_another_run_has_set_is_not_kept() -> None:
    environ = {"PYTEST_XDIST_WORKER_COUNT": "5"}

    assert "PYTEST_XDIST_WORKER_COUNT" not in get_test_environment(environ, slots=None)
    assert get_test_environment(environ)["PYTEST_XDIST_WORKER_COUNT"] == "1"


def test_the_files_of_a_run_share_its_id_and_those_of_another_run_have_another() -> None:
    ids = [
        get_test_environment({}, task=TestTask(run_id=run, file_path=path))["PYTEST_XDIST_TESTRUNUID"]
        for run, path in (("r", "a.py"), ("r", "b.py"), ("s", "a.py"))
    ]

    assert ids[0] == ids[1] != ids[2]


def test_an_attempts_name_is_always_valid_in_an_environment() -> None:
    assert printable_attempt(TestTask(run_id="r", file_path="a\0b.py")) == "r:ab.py#1"

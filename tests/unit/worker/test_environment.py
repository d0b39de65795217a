"""What a test process finds in its environment: the caller's own, and little else."""

from __future__ import annotations

from pathlib import Path

from passmuster.task import TestTask
from worker.environment import get_test_environment, printable_attempt


def test_without_a_task_only_what_holds_for_every_file_is_set() -> None:
    caller = {"A": "1"}

    assert get_test_environment(caller) == {
        "A": "1",
        "TESTING": "true",
        "TEST_MODE": "mock",
        "PYTHONFAULTHANDLER": "1",
        "PASSMUSTER_SLOT": "0",
    }
    assert caller == {"A": "1"}


def test_what_the_caller_set_stays_where_the_contract_says_so() -> None:
    caller = {"TESTING": "no", "TEST_MODE": "real", "PYTHONFAULTHANDLER": "", "PASSMUSTER_SLOT": "9"}

    found = get_test_environment(caller, slot=3)

    assert found == {
        "TESTING": "true",
        "TEST_MODE": "real",
        "PYTHONFAULTHANDLER": "",
        "PASSMUSTER_SLOT": "3",
    }


def test_a_tasks_own_changes_come_last() -> None:
    task = TestTask(
        run_id="r",
        file_path="a.py",
        attempt=2,
        environment=(("TESTING", None), ("MISSING", None), ("TMPDIR", "/own"), ("NEW", "x")),
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
        "PASSMUSTER_ATTEMPT": "r:a.py#2",
        "COVERAGE_FILE": "/c/data",
    }


def test_an_attempts_name_can_always_stand_in_an_environment() -> None:
    assert printable_attempt(TestTask(run_id="r", file_path="a\0b.py")) == "r:ab.py#1"

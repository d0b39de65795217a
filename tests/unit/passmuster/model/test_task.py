"""A task names its attempt, is immutable, and has the defaults of the shell scripts."""

from __future__ import annotations

import pytest
from msgspec import structs

from passmuster.model.status import RunnerKind
from passmuster.model.task import CoverageRequest, Limits, TestTask


def test_an_attempt_is_named_by_its_run_its_file_and_its_number() -> None:
    task = TestTask(run_id="20260101-000000-abc", file_path="tests/test a#1.py", attempt=3)

    assert task.attempt_id == "20260101-000000-abc:tests/test a#1.py#3"


def test_two_attempts_at_one_file_have_two_names() -> None:
    task = TestTask(run_id="r", file_path="test_a.py")

    assert structs.replace(task, attempt=2).attempt_id != task.attempt_id


def test_a_task_can_neither_be_changed_nor_given_new_fields() -> None:
    task = TestTask(run_id="r", file_path="test_a.py")

    with pytest.raises(AttributeError):
        task.attempt = 2  # type: ignore[misc]  # What is tried is what the type forbids.
    assert not hasattr(task, "__dict__")


def test_a_task_contains_no_command_interpreter_or_directory() -> None:
    names = set(TestTask.__struct_fields__)

    assert names.isdisjoint({"command", "argv", "interpreter", "python", "cwd", "workdir", "root"})


def test_the_defaults_are_the_promised_ones() -> None:
    task = TestTask(run_id="r", file_path="test_a.py")

    assert task.limits == Limits(timeout_s=300, grace_s=5, memory_bytes=None, output_bytes=2 * 1024**2)
    assert (task.attempt, task.runner, task.coverage, task.exclusive) == (1, RunnerKind.AUTO, None, False)
    assert CoverageRequest().source == ()


@pytest.mark.parametrize(
    ("seconds", "cpu_s", "cpus"),
    [
        (None, None, 1.0),
        (2.0, None, 1.0),
        (None, 0.1, 1.0),
        (0.0, 0.0, 1.0),
        (10.0, 1.0, 0.1),
        (10.0, 3.9, 0.39),
        (10.0, 4.0, 1.0),
        (1.0, 8.0, 1.0),
    ],
)
def test_a_file_is_expected_to_keep_one_cpu_busy_unless_it_clearly_waits(
    seconds: float | None, cpu_s: float | None, cpus: float
) -> None:
    task = TestTask(run_id="r", file_path="test_a.py", predicted_s=seconds, predicted_cpu_s=cpu_s)

    assert task.predicted_cpus == pytest.approx(cpus)

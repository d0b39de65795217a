"""When a worker can no longer run files."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.queue.health import MIN_FREE_BYTES, Health, free_bytes


@pytest.fixture
def health(tmp_path: Path) -> Health:
    return Health(tmp_path, tmp_path, free=lambda _: MIN_FREE_BYTES)


def test_a_worker_that_never_ran_a_file_fails_at_its_first_failure(health: Health) -> None:
    assert health.count_failure()


def test_a_worker_that_ran_files_fails_at_the_second_consecutive_failure(health: Health) -> None:
    health.count_run()
    assert not health.count_failure()
    health.count_run()
    assert not health.count_failure()
    assert health.count_failure()


def problem_of(health: Health) -> str:
    problem = health.problem()
    assert problem is not None
    return problem


def test_too_little_space_is_reported_with_the_required_space(tmp_path: Path, health: Health) -> None:
    assert health.problem() is None

    full = Health(tmp_path, tmp_path, free=lambda _: MIN_FREE_BYTES - 1)

    assert "are needed: free some space there or set TMPDIR" in problem_of(full)
    assert str(tmp_path) in problem_of(full)


def test_missing_directories_are_reported(tmp_path: Path) -> None:
    gone = tmp_path / "gone"

    assert f"root {gone} does not exist any more" in problem_of(Health(gone, tmp_path))
    assert f"temporary files {gone} cannot be used" in problem_of(Health(tmp_path, gone))


def test_free_space_is_what_the_system_says(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0

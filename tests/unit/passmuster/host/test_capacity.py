"""How many files may run at once, and within how much memory."""

from __future__ import annotations

import pytest

from passmuster.host.capacity import (
    GIB,
    calculate_max_workers,
    ceiling_bytes,
    file_memory_of,
    machine_bytes,
    machine_capacity,
    resolve_budget,
    resolve_limit,
)
from passmuster.host.host_resources import AvailableResources
from passmuster.model.units import Amount

MACHINE = AvailableResources(
    cpus=4,
    cpus_source="affinity",
    total_bytes=8 * GIB,
    total_source="RAM",
    available_bytes=6 * GIB,
    available_source="RAM",
)
DEFAULT_BUDGET = "memory budget: 4 GiB (the default of 4 GiB)"


@pytest.mark.parametrize(
    ("cpus", "total_gib", "workers"),
    [
        (1, 64, 1),
        (2, 24, 2),
        (4, 1, 2),
        (4, 6, 3),
        (4, 7.9, 3),
        (4, 8, 4),
        (64, 512, 8),
        (64, 10, 5),
        (0, 0, 1),
    ],
)
def test_workers_are_bounded_by_cpus_memory_and_eight(cpus: int, total_gib: float, workers: int) -> None:
    assert calculate_max_workers(cpus=cpus, total_bytes=int(total_gib * GIB)) == workers


@pytest.mark.parametrize(
    ("available_bytes", "expected"),
    [(100 * GIB, 4 * GIB), (5 * GIB, 4 * GIB), (GIB, int(0.8 * GIB)), (0, 1)],
)
def test_the_default_budget_is_four_gib_or_four_fifths_of_what_is_available(
    available_bytes: int, expected: int
) -> None:
    budget_bytes, _ = resolve_budget(None, total_bytes=100 * GIB, available_bytes=available_bytes)
    assert budget_bytes == expected


def test_all_runs_together_leave_a_fifth() -> None:
    assert ceiling_bytes(available_bytes=1000) == 800


@pytest.mark.parametrize(
    ("amount", "available_bytes", "expected"),
    [
        (None, 50 * GIB, (4 * GIB, "the default of 4 GiB")),
        (None, GIB, (int(0.8 * GIB), "80% of the available 1 GiB")),
        (Amount(size_bytes=123), GIB, (123, "asked for as 123 B")),
        (Amount(fraction=0.5), GIB, (5 * GIB, "asked for as 50%")),
    ],
)
def test_a_budget_has_a_source(
    amount: Amount | None, available_bytes: int, expected: tuple[int, str]
) -> None:
    assert resolve_budget(amount, total_bytes=10 * GIB, available_bytes=available_bytes) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (None, None),
        (Amount(size_bytes=10), 10),
        (Amount(size_bytes=5000), 1000),
        (Amount(fraction=0.25), 250),
    ],
)
def test_a_files_limit_is_at_most_the_budget(amount: Amount | None, expected: int | None) -> None:
    assert resolve_limit(amount, budget_bytes=1000) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("4096", 4096), ("", None), ("-1", None), ("4GiB", None), ("9" * 5000, None)]
)
def test_what_a_test_may_use_is_read_from_its_environment(text: str, expected: int | None) -> None:
    assert file_memory_of({"PASSMUSTER_FILE_MEMORY": text}) == expected
    assert file_memory_of({}) is None


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (None, 800),
        (Amount(fraction=0.5), 500),
        (Amount(size_bytes=300), 300),
        (Amount(size_bytes=5000), 1000),
    ],
)
def test_the_budget_of_the_machine_is_never_more_than_it_can_give(
    amount: Amount | None, expected: int
) -> None:
    assert machine_bytes(amount, can_give_bytes=1000) == expected


@pytest.mark.parametrize(
    ("slots", "inside_bytes", "limits"),
    [
        (
            None,
            None,
            ["slots: 4 (4 CPUs (affinity), 8 GiB (RAM))", DEFAULT_BUDGET],
        ),
        (7, None, ["slots: 7 (asked for)", DEFAULT_BUDGET]),
        (
            None,
            GIB,
            [
                "slots: 1 (inside a test of another run)",
                "memory budget: 819 MiB (80% of what the test may use that started this run)",
            ],
        ),
        (2, 100 * GIB, ["slots: 2 (asked for)", DEFAULT_BUDGET]),
    ],
)
def test_the_capacity_of_a_machine_names_the_source_of_each_limit(
    slots: int | None, inside_bytes: int | None, limits: list[str]
) -> None:
    capacity = machine_capacity(MACHINE, slots=slots, budget=None, inside_bytes=inside_bytes)

    assert [f"{limit.name}: {limit.value} ({limit.source})" for limit in capacity.limits] == limits
    assert (capacity.cpus, capacity.idle_cpus, capacity.total_bytes) == (4, None, 8 * GIB)

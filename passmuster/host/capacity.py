"""Computes the number of slots and the memory budget from the resources of the machine.

Pure: `passmuster.host.host_resources` reads the resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from passmuster.model.executor import Limit
from passmuster.model.test_environment import FILE_MEMORY_VARIABLE
from passmuster.model.units import Amount, format_bytes

if TYPE_CHECKING:
    from passmuster.host.host_resources import AvailableResources

GIB = 1024**3

MAX_WORKERS = 8
"""Maximum number of concurrent files, however large the machine is."""

BYTES_PER_WORKER = 2 * GIB
"""Memory assumed for each slot; each file of the heaviest known suites stays below it."""

DEFAULT_BUDGET_BYTES = 4 * GIB
"""Default memory budget of all files together; the old scripts used 18 GB and more."""

AVAILABLE_SHARE = 0.8
"""Share of the available memory for test files; the rest is for Passmuster, the page cache and the user."""

CI_CPUS = 4
CI_MEMORY_BYTES = 16 * GIB
"""What GitHub's standard Linux runner for public repositories has."""


class Capacity(Struct, frozen=True, kw_only=True):
    """The resources that an execution target has for a run.

    Args:
        idle_cpus: processors for which further files start while they are idle; None: for none.
        total_bytes: memory of the machine, as far as this process may use it.
        cpus: its processors; None: unknown.
    """

    slots: int
    budget_bytes: int
    total_bytes: int
    limits: tuple[Limit, ...]
    idle_cpus: int | None = None
    cpus: int | None = None


def calculate_max_workers(*, cpus: int, total_bytes: int) -> int:
    """Return how many files may run at once; never less than one.

    Memory never reduces the number below two, because two files overlap their waiting even on a small
    machine. More processes than CPUs only take memory from each other.
    """
    by_memory = max(2, total_bytes // BYTES_PER_WORKER)
    return max(1, min(cpus, by_memory, MAX_WORKERS))


def machine_capacity(
    machine: AvailableResources, *, slots: int | None, budget: Amount | None, inside_bytes: int | None = None
) -> Capacity:
    """Return the slots and the memory budget of this machine, without oversubscription.

    Args:
        slots: as configured; None: what CPUs and memory allow.
        budget: as configured; None: the default.
        inside_bytes: the memory limit of the test that started this run, see `file_memory_of`.
    """
    slots_source = "asked for"
    if slots is None and inside_bytes is not None:
        slots, slots_source = 1, "inside a test of another run"
    elif slots is None:
        slots = calculate_max_workers(cpus=machine.cpus, total_bytes=machine.total_bytes)
        total = format_bytes(machine.total_bytes)
        slots_source = f"{machine.cpus} CPUs ({machine.cpus_source}), {total} ({machine.total_source})"
    budget_bytes, budget_source = resolve_budget(
        budget, total_bytes=machine.total_bytes, available_bytes=machine.available_bytes
    )
    if inside_bytes is not None and ceiling_bytes(available_bytes=inside_bytes) < budget_bytes:
        budget_bytes = max(1, ceiling_bytes(available_bytes=inside_bytes))
        budget_source = f"{AVAILABLE_SHARE:.0%} of what the test may use that started this run"
    return Capacity(
        slots=slots,
        budget_bytes=budget_bytes,
        total_bytes=machine.total_bytes,
        cpus=machine.cpus,
        limits=(
            Limit(name="slots", value=str(slots), source=slots_source),
            Limit(name="memory budget", value=format_bytes(budget_bytes), source=budget_source),
        ),
    )


def ceiling_bytes(*, available_bytes: int) -> int:
    """Return the bytes that test files may use of the available memory."""
    return int(available_bytes * AVAILABLE_SHARE)


def machine_bytes(amount: Amount | None, *, can_give_bytes: int) -> int:
    """Return the memory in bytes that the files of all runs on this machine may use together.

    Args:
        amount: the setting `machine-memory`; a share is one of `can_give_bytes`; None: 80 %.
        can_give_bytes: memory that the machine, or a control group, could give to tests: what is available,
            and what tests use already.
    """
    if amount is None:
        return ceiling_bytes(available_bytes=can_give_bytes)
    return min(amount.resolve(can_give_bytes), can_give_bytes)


def file_memory_of(environ: Mapping[str, str]) -> int | None:
    """Return the memory limit in bytes of the test that started this run; None: no test did."""
    text = environ.get(FILE_MEMORY_VARIABLE, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def resolve_budget(amount: Amount | None, *, total_bytes: int, available_bytes: int) -> tuple[int, str]:
    """Return the budget in bytes, and its source for messages.

    Args:
        amount: the setting; a share is one of `total_bytes`; None: the default.
    """
    if amount is not None:
        return max(1, amount.resolve(total_bytes)), f"asked for as {amount}"
    budget_bytes = ceiling_bytes(available_bytes=available_bytes)
    if budget_bytes >= DEFAULT_BUDGET_BYTES:
        return DEFAULT_BUDGET_BYTES, f"the default of {format_bytes(DEFAULT_BUDGET_BYTES)}"
    return max(1, budget_bytes), f"{AVAILABLE_SHARE:.0%} of the available {format_bytes(available_bytes)}"


def resolve_limit(amount: Amount | None, *, budget_bytes: int) -> int | None:
    """Return the memory limit of one file in bytes; None: only the budget limits it.

    Args:
        amount: the setting; a share is one of the budget.
    """
    if amount is None:
        return None
    return max(1, min(amount.resolve(budget_bytes), budget_bytes))

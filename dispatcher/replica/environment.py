"""The environment that CI gives to the tests, and how much of it this machine can imitate.

Pure except for `this_machine`. `ci_replica` makes the directories, binds the process and runs the tests.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from passmuster.host.capacity import (
    CI_CPUS,
    CI_MEMORY_BYTES,
    DEFAULT_BUDGET_BYTES,
    calculate_max_workers,
    ceiling_bytes,
)
from passmuster.host.host_resources import read_machine, usable_cpus
from passmuster.model.units import Amount, format_bytes

KEPT_VARIABLES = frozenset(
    {
        # For finding programs and interpreters.
        *("PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYENV_ROOT", "PYENV_VERSION"),
        # The user that runs the tests.
        *("USER", "LOGNAME", "SHELL"),
        # Network access from here.
        *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
        *("all_proxy", "http_proxy", "https_proxy", "no_proxy"),
        *("CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE"),
        *("SSL_CERT_DIR", "SSL_CERT_FILE"),
    }
)
"""The variables that are kept of the caller's environment; CI would not have any other, such as secrets."""


class HostResources(Struct, frozen=True, kw_only=True):
    """The resources of this machine.

    Args:
        cpus: the numbers of the CPUs that this process may use.
    """

    cpus: frozenset[int]
    memory_bytes: int
    is_bindable: bool = True


class Environment(Struct, frozen=True, kw_only=True):
    """The environment of the tests, in place of the caller's environment and machine.

    Args:
        cpus: the CPUs to bind to; as many as imitated, or as exist.
        memory_bytes: the imitated memory, limited to what exists.
        remarks: a sentence for each resource of which less is imitated than requested.
        unsupported: what cannot be imitated, a fragment each.
    """

    variables: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]
    cpus: tuple[int, ...]
    memory_bytes: int
    remarks: tuple[str, ...]
    unsupported: tuple[str, ...]

    @property
    def slots(self) -> int:
        """How many files a run would start at once by default on the imitated machine."""
        return calculate_max_workers(cpus=len(self.cpus), total_bytes=self.memory_bytes)

    @property
    def budget_bytes(self) -> int | None:
        """The memory budget on the imitated machine, if it is less than usual."""
        share_bytes = ceiling_bytes(available_bytes=self.memory_bytes)
        return share_bytes if share_bytes < DEFAULT_BUDGET_BYTES else None

    def arguments(self) -> tuple[str, ...]:
        """Return the arguments that make `run_tests.py` behave as on the imitated machine."""
        slots = ("--jobs", str(self.slots))
        # Without a budget the run uses what is available here, which may be less than the default.
        return slots if self.budget_bytes is None else (*slots, "--memory-budget", str(self.budget_bytes))


def setup_ci_environment(
    environ: Mapping[str, str],
    *,
    root: Path,
    scratch: Path,
    machine: HostResources,
    cpus: int | None = None,
    memory: Amount | None = None,
) -> Environment:
    """Compute the clean environment, without changing anything.

    Args:
        scratch: an empty directory, for the home and the temporary files of the tests.
        cpus: CPUs to imitate; None: 4, as GitHub's standard runner has.
        memory: memory to imitate, where a share is of this machine's; None: 16 GiB, as that runner has.
    """
    kept = {name: value for name, value in environ.items() if name in KEPT_VARIABLES}
    variables = {
        **kept,
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "TESTING": "true",
        "TEST_MODE": "mock",
        "GITHUB_WORKSPACE": str(root),
        "RUNNER_OS": "Linux",
        "RUNNER_TEMP": str(scratch / "tmp"),
        "HOME": str(scratch / "home"),
        "TMPDIR": str(scratch / "tmp"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
    }
    wanted_cpus = CI_CPUS if cpus is None else cpus
    wanted_bytes = CI_MEMORY_BYTES if memory is None else memory.resolve(machine.memory_bytes)
    remarks = []
    if wanted_cpus > len(machine.cpus):
        remarks.append(f"This machine has {len(machine.cpus)} of the {wanted_cpus} CPUs.")
    if wanted_bytes > machine.memory_bytes:
        have, want = format_bytes(machine.memory_bytes), format_bytes(wanted_bytes)
        remarks.append(f"This machine has {have} of the {want} of memory.")
    not_imitated = [
        "the kernel and the image of the operating system with its programs",
        "service containers and secrets",
        "the network: what is reachable from here may not be from there",
        "the speed of its CPUs and disks",
    ]
    if not machine.is_bindable:
        not_imitated.append("the number of its CPUs, except for the number of files at once")
    if "VIRTUAL_ENV" in kept:
        not_imitated.append(f"a fresh installation: the packages are those of {kept['VIRTUAL_ENV']}")
    return Environment(
        variables=tuple(sorted(variables.items())),
        removed=tuple(sorted(environ.keys() - variables.keys())),
        cpus=tuple(sorted(machine.cpus)[:wanted_cpus]),
        memory_bytes=min(wanted_bytes, machine.memory_bytes),
        remarks=tuple(remarks),
        unsupported=tuple(not_imitated),
    )


def this_machine() -> HostResources:
    """Return the resources of this machine."""
    # macOS can neither say nor set on which CPUs a process runs.
    is_bindable = hasattr(os, "sched_getaffinity")
    return HostResources(cpus=usable_cpus(), memory_bytes=read_machine().total_bytes, is_bindable=is_bindable)

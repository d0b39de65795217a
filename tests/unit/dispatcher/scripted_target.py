"""A place where runs go as a script says, for tests of everything above the backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import BackendRequest
from passmuster.host.capacity import Capacity
from passmuster.model.executor import Limit
from tests.unit.dispatcher.engine.scripted_backend import ScriptedBackend, Step

GIB = 1024**3


class ClosedBackend(ScriptedBackend):
    """A scripted backend that counts how often it is closed."""

    closed: int = 0

    def close(self) -> None:
        self.closed += 1


@dataclass(kw_only=True)
class ScriptedTarget:
    """Makes scripted backends, and keeps them and what it was asked for."""

    script: Mapping[str, Sequence[Step]] = field(default_factory=dict)
    total_bytes: int = 8 * GIB
    requests: list[BackendRequest] = field(default_factory=list)
    backends: list[ClosedBackend] = field(default_factory=list)
    announced: list[BackendRequest] = field(default_factory=list)
    discarded: int = 0
    closed: bool = False

    def capacity(self, config: TestConfig) -> Capacity:
        slots = config.max_workers or 3
        limits = (Limit(name="slots", value=str(slots), source="the script"),)
        return Capacity(slots=slots, budget_bytes=GIB, total_bytes=self.total_bytes, limits=limits)

    def explain_preload(self, request: BackendRequest) -> tuple[str, ...]:
        self.requests.append(request)
        return (f"{len(request.tasks)} files explained",)

    def announce(self, request: BackendRequest) -> None:
        self.announced.append(request)

    def discard_servers(self) -> None:
        self.discarded += 1

    def close(self) -> None:
        self.closed = True

    def backend(self, request: BackendRequest) -> ClosedBackend:
        self.requests.append(request)
        backend = ClosedBackend(script=self.script, slots=request.config.max_workers or 3)
        self.backends.append(backend)
        return backend

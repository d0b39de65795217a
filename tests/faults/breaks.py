"""What each kind of fault does: a table with one function for each kind."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.faults.broker import Broker
from tests.faults.crew import Crew
from tests.faults.dispatchers import Dispatchers
from tests.faults.network import Way
from tests.faults.other_runs import OtherRuns
from tests.faults.plan import Kind
from tests.faults.small_disk import SmallDisk

Mend = Callable[[], None]
"""What ends a fault that lasts."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that can break.

    Args:
        crew: the workers.
        ways: theirs to the server, by place.
        dispatchers: the dispatchers.
        dispatchers_way: theirs to the server.
        broker: the server.
        other_runs: the runs of other projects on this machine.
        disk: what the run's folder is on; None: it cannot be full.
    """

    crew: Crew
    ways: Sequence[Way]
    dispatchers: Dispatchers
    dispatchers_way: Way
    broker: Broker
    other_runs: OtherRuns
    disk: SmallDisk | None


def break_it(scene: Scene, kind: Kind, place: int) -> Mend | None:
    """Do a fault; return what ends it. None: it is over at once."""
    return BREAKS[kind](scene, place)


def _kill(scene: Scene, place: int) -> None:
    scene.crew.kill(place)


def _ask(scene: Scene, place: int) -> None:
    scene.crew.ask(place)


def _freeze(scene: Scene, place: int) -> Mend:
    frozen = scene.crew.freeze(place, with_files=False)
    return lambda: scene.crew.thaw(frozen)


def _freeze_all(scene: Scene, place: int) -> Mend:
    frozen = scene.crew.freeze(place, with_files=True)
    return lambda: scene.crew.thaw(frozen)


def _cut(way: Way) -> Mend:
    way.cut()
    return way.heal


def _delay(way: Way) -> Mend:
    way.slow(0.3)
    return way.hasten


def _end_server(scene: Scene, *, forget: bool) -> Mend:
    scene.broker.kill(forget=forget)
    return scene.broker.start


def _fill_server(scene: Scene, _: int) -> Mend:
    scene.broker.command("CONFIG", "SET", "maxmemory", 1)
    return lambda: scene.broker.command("CONFIG", "SET", "maxmemory", 0)


def _fill_disk(scene: Scene, _: int) -> Mend | None:
    if scene.disk is None:
        return None
    scene.disk.fill()
    return scene.disk.free


def _begin_other_run(scene: Scene, _: int) -> None:
    scene.other_runs.begin()


def _begin_and_kill_other_run(scene: Scene, _: int) -> Mend:
    begun = scene.other_runs.begin()
    return lambda: scene.other_runs.kill(begun)


def _freeze_other_run(scene: Scene, _: int) -> Mend | None:
    frozen = scene.other_runs.under_way()
    if frozen is None:
        scene.other_runs.begin()
        return None
    scene.other_runs.send(frozen, signal.SIGSTOP)
    return lambda: scene.other_runs.send(frozen, signal.SIGCONT)


BREAKS: Mapping[Kind, Callable[[Scene, int], Mend | None]] = {
    Kind.KILL: _kill,
    Kind.TERM: _ask,
    Kind.FREEZE: _freeze,
    Kind.FREEZE_ALL: _freeze_all,
    Kind.CUT: lambda scene, place: _cut(scene.ways[place]),
    Kind.RESET: lambda scene, place: scene.ways[place].reset(),
    Kind.DELAY: lambda scene, place: _delay(scene.ways[place]),
    Kind.CUT_DISPATCHER: lambda scene, _: _cut(scene.dispatchers_way),
    Kind.RESET_DISPATCHER: lambda scene, _: scene.dispatchers_way.reset(),
    Kind.DELAY_DISPATCHER: lambda scene, _: _delay(scene.dispatchers_way),
    Kind.KILL_DISPATCHER: lambda scene, place: scene.dispatchers.kill(place),
    Kind.CRASH: lambda scene, _: _end_server(scene, forget=False),
    Kind.REPLACE: lambda scene, _: _end_server(scene, forget=True),
    Kind.FLUSH: lambda scene, _: scene.broker.command("FLUSHALL"),
    Kind.FULL: _fill_server,
    Kind.DISK_FULL: _fill_disk,
    Kind.OTHER_RUN: _begin_other_run,
    Kind.OTHER_RUN_KILLED: _begin_and_kill_other_run,
    Kind.OTHER_RUN_FROZEN: _freeze_other_run,
}

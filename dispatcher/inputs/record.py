"""What the history keeps about the inputs of a file that passed, and how it follows from a run."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from msgspec import DecodeError, Struct, json

from dispatcher.inputs.tree_state import TreeState, file_key, keys_of, modules_of
from dispatcher.model.plan import RunPlan
from dispatcher.model.results import FileAttempts, MeasuredInputs
from passmuster.model.inputs import FileInputs
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.test_selection import TestSelection

MAX_DECODED = 20_000
"""Decoded records that are kept: a watch reads those of all files in each round."""

CHANGED_MEANWHILE = "what it reads changed while it ran"
FLAKY = "its last run passed only when it was repeated"
OTHER_INTERPRETER = "a worker ran it whose interpreter or packages this machine does not have"
CLOCK_SLACK_S = 0.015
"""File systems store times of their own clock, which is up to 10 ms late."""


class InputRecord(Struct, frozen=True, kw_only=True):
    """The inputs with which a file passed, and their states then."""

    inputs: FileInputs
    states: dict[str, str]
    """By the keys of `tree_state`; an input that did not exist is left out."""
    environment: str
    """A digest of the interpreter, its packages, and variables that the user named."""
    settings: str
    """A digest of how the file ran, see `settings_digest`."""
    seed: str = ""
    """Of the random order in which its tests ran; empty: in its own order."""
    was_forked: bool = False

    @property
    def is_self_contained(self) -> bool:
        """Whether the file read nothing outside the project, and did not use the network."""
        inputs = self.inputs
        places = (*inputs.read, *inputs.absent, *(one.folder for one in inputs.listed))
        return not inputs.has_network and not any(place.startswith("/") for place in places)

    def keys(self, path: str, tree: TreeState) -> dict[str, None]:
        """Return the keys of all inputs of the file at `path`, then and now, each once."""
        return dict.fromkeys((*keys_of(path, self.inputs, tree.modules_in), *self.states))


def encode_record(record: InputRecord) -> bytes:
    """Return a record as the history stores it."""
    return zlib.compress(json.encode(record), 1)


@lru_cache(maxsize=MAX_DECODED)
def decode_record(data: bytes) -> InputRecord | None:
    """Return a stored record; None: it is damaged, or another version has written it."""
    try:
        return json.decode(zlib.decompress(data), type=InputRecord)
    except (zlib.error, DecodeError):
        return None


def settings_digest(runner: RunnerKind, selection: TestSelection, workdir: str) -> str:
    """Return a digest of everything by which a file of the same content may run differently.

    Args:
        workdir: of the tests, relative to the root.
    """
    return digest_of(repr((runner.value, selection.arguments, selection.quarantined, workdir)))


def digest_of(text: str) -> str:
    """Return a short digest of a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def measure_inputs(
    records: Iterable[FileAttempts],
    tree: TreeState,
    *,
    started_at: float,
    environment: str,
    workdir: str,
    is_interpreter_known: Callable[[str], bool] = lambda _: True,
) -> MeasuredInputs:
    """Return the states, at the end of a run, of everything that its passed files have read.

    A state counts for a file only if the input has not changed since the file started: its result says
    nothing about the new content.

    Args:
        started_at: of the run, in Unix time. Attempts of an interrupted run that is resumed are older.
        environment: a digest, see `InputRecord`.
        workdir: of the tests, relative to the root.
        is_interpreter_known: says whether `environment` is about the interpreter of a result.
    """
    states: dict[str, str] = {}
    files, unsure = [], []
    for path, result, inputs in _passed(records):
        files.append(path)
        keys = dict.fromkeys(keys_of(path, inputs, tree.modules_in))
        since = min(started_at, result.started_at or started_at) - CLOCK_SLACK_S
        read = set(map(file_key, inputs.read))
        if any(tree.changed_at(key) >= since or (key in read and not tree(key)) for key in keys):
            unsure.append((path, CHANGED_MEANWHILE))
        elif not is_interpreter_known(result.interpreter):
            unsure.append((path, OTHER_INTERPRETER))
        states.update((key, state) for key in keys if (state := tree(key)))
    return MeasuredInputs(
        files=tuple(files),
        states=tuple(sorted(states.items())),
        unsure=tuple(unsure),
        environment=environment,
        workdir=workdir,
    )


def make_records(
    plan: RunPlan, records: Sequence[FileAttempts], measured: Iterable[MeasuredInputs]
) -> Iterator[tuple[str, InputRecord]]:
    """Yield the record of each file that passed, by its path.

    That of a flaky file replaces an earlier one, which an undisputed pass has left.
    """
    for record in records:
        if record.is_flaky and record.file.selection.is_whole_file:
            flaky = FileInputs(unsure=FLAKY)
            yield record.file.path, InputRecord(inputs=flaky, states={}, environment="", settings="")
    tasks = {planned.file.path: planned.task for planned in plan.files}
    passed = {path: (result, inputs) for path, result, inputs in _passed(records)}
    for part in measured:
        states, unsure_of = dict(part.states), dict(part.unsure)
        modules_in = modules_of(states)
        for path in part.files:
            if path not in passed or path not in tasks:
                continue
            (result, inputs), task = passed[path], tasks[path]
            unsure = inputs.unsure or unsure_of.get(path, "")
            if unsure:  # Nothing is compared.
                inputs = FileInputs(unsure=unsure, has_network=inputs.has_network)
            keys = keys_of(path, inputs, modules_in)
            yield (
                path,
                InputRecord(
                    inputs=inputs,
                    states={key: states[key] for key in keys if key in states},
                    environment=part.environment,
                    settings=settings_digest(task.runner, task.selection, part.workdir),
                    seed=task.selection.seed,
                    was_forked=result.isolation is Isolation.FORK,
                ),
            )


def _passed(records: Iterable[FileAttempts]) -> Iterator[tuple[str, TestResult, FileInputs]]:
    """Yield the files of which all tests ran and passed, and no attempt failed, with what they read."""
    for record in records:
        final = record.final
        if (
            final.inputs is not None
            and final.status.is_pass
            and record.file.selection.is_whole_file
            and not record.is_flaky
        ):
            yield record.file.path, final, final.inputs

"""A backend that runs some files in parts: a task for each part, and one result for the file.

Everything above it knows only files. It turns the events of parts into events of their file: a file starts
with the first part that starts, and ends with the last part that ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.engine.backend import Backend, BackendEvent, TaskFinished, TaskStarted, WrappedBackend
from dispatcher.model.file_parts import join_parts
from passmuster.model.executor import FileUsage, Usage
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask


class _FileInParts(Struct):
    """A file of which at least one part has not ended."""

    task: TestTask
    results: list[TestResult]
    is_started: bool = False

    @property
    def is_complete(self) -> bool:
        return len(self.results) == len(self.task.parts)


class PartsBackend(WrappedBackend):
    """Submits a task for each part of a task that has parts."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self._files: dict[str, _FileInParts] = {}
        self._ended: list[BackendEvent] = []

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        """Queue tasks; the parts of a file follow each other."""
        for task in tasks:
            if task.parts:
                self._files[task.file_path] = _FileInParts(task=task, results=[])
        divided = [part for task in tasks for part in task.as_parts]
        self._inner.submit(divided, urgent=urgent, best_effort=best_effort)

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        """Return what happened to files."""
        found = self._inner.poll(0.0 if self._ended else timeout_s)
        events, self._ended = self._ended, []  # Only now: the other backend may have raised.
        for event in found:
            if isinstance(event, TaskStarted | TaskFinished) and event.task.selection.part is not None:
                events += self._of_file(event)
            else:
                events.append(event)
        return tuple(events)

    def withdraw(self) -> tuple[TestTask, ...]:
        """Remove tasks that have not started.

        A file of which a part has started is not among them: its other parts are cancelled, and it ends when
        its running parts end.
        """
        tasks = self._inner.withdraw()
        parts = Counter(task.file_path for task in tasks if task.selection.part is not None)
        # None of their parts has started; the event of a start may not have been read yet.
        untouched = [path for path, count in parts.items() if count == len(self._files[path].task.parts)]
        whole = [self._files.pop(path).task for path in untouched]
        for task in tasks:
            if task.selection.part is not None and task.file_path in self._files:
                result = TestResult.without_run(task, Status.CANCELLED, "not run: the run was stopped")
                self._ended += self._end(self._files[task.file_path], result)
        return (*(task for task in tasks if task.selection.part is None), *whole)

    def usage(self) -> Usage:
        """Return the usage of the running files, each with the sum of its running parts."""
        usage = self._inner.usage()
        if not self._files:
            return usage
        by_path = sorted(usage.files, key=lambda file: file.file_path)
        groups = (tuple(group) for _, group in groupby(by_path, key=lambda file: file.file_path))
        files = sorted(map(self._added_up, groups), key=lambda file: -file.seconds)
        return replace(usage, files=tuple(files))

    def _added_up(self, parts: Sequence[FileUsage]) -> FileUsage:
        oldest = max(parts, key=lambda part: part.seconds)
        file = self._files.get(oldest.file_path)
        if file is None:
            return oldest
        return replace(
            oldest,
            used_bytes=sum(part.used_bytes for part in parts),
            parts=len(file.task.parts),
            finished_parts=len(file.results),
        )

    def _of_file(self, event: TaskStarted | TaskFinished) -> Sequence[BackendEvent]:
        """Return what an event of a part means for its file."""
        file = self._files[event.task.file_path]
        if isinstance(event, TaskFinished):
            return self._end(file, event.result)
        if file.is_started:
            return ()
        file.is_started = True
        return (TaskStarted(task=file.task, worker=event.worker),)

    def _end(self, file: _FileInParts, result: TestResult) -> Sequence[BackendEvent]:
        file.results.append(result)
        if not file.is_complete:
            return ()
        del self._files[file.task.file_path]
        return (TaskFinished(task=file.task, result=join_parts(file.results)),)

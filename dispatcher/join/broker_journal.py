"""The journal of a round on the broker: each leader writes it, and the next leader resumes from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from dispatcher.engine.journal import OpenedJournal, resume_message
from dispatcher.join.liveness import JoinedRun
from dispatcher.model.plan import PlannedFile, RunPlan
from dispatcher.queue.results import write_coverage
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation
from passmuster.wire.codec import RESULT_CODEC
from passmuster.wire.envelope import pack_bytes
from passmuster.wire.join_store import LeaderLease


class BrokerJournal:
    """A round led by this machine. Both a `JoinedRunHandle` and its `JournalWriter`."""

    def __init__(self, run: JoinedRun, lease: LeaderLease, *, run_id: str) -> None:
        self._run, self._lease, self.run_id = run, lease, run_id

    def open(self, plan: RunPlan, coverage_dir: Path | None) -> tuple[RunPlan, OpenedJournal]:
        """Return the plan and the journal, with the attempts that finished in this round or passed in earlier
        ones.

        A pass of an earlier round stands: it is not verified here, and this machine's history of the file is
        ignored.

        Raises:
            PassmusterError: an entry is malformed or not signed with the secret.
            InfrastructureError: the broker is unavailable, or coverage data cannot be written.
        """
        found = self._run.retry.call(self._read, coverage_dir)
        earlier = {path for (path, _), (number, _) in found.items() if number < self._lease.number}
        forked = {path for (path, _), (_, result) in found.items() if result.isolation is Isolation.FORK}
        files = (
            _passed_earlier(item, was_forked=item.file.path in forked) if item.file.path in earlier else item
            for item in plan.files
        )
        plan = structs.replace(plan, files=tuple(files))
        # If another machine forked a file that must be spawned according to this machine's history, the
        # result would be trusted too much.
        unfit = forked & {item.file.path for item in plan.files if item.task.isolation is Isolation.SPAWN}
        finished = {key: result for key, (_, result) in found.items() if key[0] not in unfit}
        notice = resume_message(self.run_id, finished, len(plan.files)) if finished else ""
        return plan, OpenedJournal(self, finished, notice)

    def add(self, results: Sequence[TestResult]) -> None:
        """Record finished attempts, with their coverage data.

        Raises:
            NotLeadingError: another machine leads; nothing was written.
            InfrastructureError: the broker was unavailable for too long.
        """
        entries = [self._entry(result) for result in results]
        if entries:
            # An entry that was written twice because the first reply was lost counts once.
            self._run.retry.call(self._run.store.append, self._lease, entries)

    def end(self) -> None:
        """Do nothing: the round ends when its result is published."""

    def _entry(self, result: TestResult) -> str:
        coverage = tuple(pack_bytes(Path(path).read_bytes()) for path in result.coverage_files)
        return self._run.codec.encode_result(self._lease.number, RESULT_CODEC.encode(result), coverage)

    def _read(self, coverage_dir: Path | None) -> dict[tuple[str, int], tuple[int, TestResult]]:
        """Return the results that count, each with its round."""
        counts_from: dict[str, int] = {}
        found: dict[tuple[str, int], tuple[int, TestResult]] = {}
        for kind, text in self._run.store.entries():
            if kind == "round":
                new = self._run.codec.decode_round(text)
                counts_from |= dict.fromkeys(new.paths, new.number)
                found = {key: one for key, one in found.items() if one[0] >= counts_from.get(key[0], 1)}
                continue
            number, plain, coverage = self._run.codec.decode_result(text)
            result = RESULT_CODEC.decode(plain)
            if number >= counts_from.get(result.file_path, 1):
                files = (
                    () if coverage_dir is None else (write_coverage(one, coverage_dir) for one in coverage)
                )
                result = structs.replace(result, coverage_files=tuple(files))
                found[result.key, result.attempt] = (number, result)
        return found


def _passed_earlier(item: PlannedFile, *, was_forked: bool) -> PlannedFile:
    """Return a planned file that passed in an earlier round, marked so that its result keeps its meaning."""
    task = item.task
    if was_forked and task.isolation is Isolation.SPAWN:
        task = structs.replace(task, isolation=Isolation.AUTO)
    return structs.replace(item, task=task, failed_before=False, is_fork_verified=True)

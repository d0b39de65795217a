"""The journal of a round on the broker: each leader writes it, and the next leader resumes from it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import structs

from dispatcher.engine.journal import FinishedAttempts
from dispatcher.join.liveness import BrokerRetry
from dispatcher.model.plan import PlannedFile, RunPlan
from passmuster.model.errors import InfrastructureError
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation
from passmuster.wire.codec import decode_result, encode_result
from passmuster.wire.envelope import MAX_PARTS_BYTES, pack_bytes, unpack_bytes
from passmuster.wire.join_messages import JoinCodec
from passmuster.wire.join_store import JoinStore, LeaderLease


class BrokerJournal:
    """A round led by this machine. Both a `JoinedRunHandle` and its `JournalWriter`.

    Args:
        record: the run store of the joined run.
        seals: signs and verifies entries.
        claim: the leader lease, which gives the right to write.
        patience: retries while the broker is unavailable.
        run_id: of the round.
    """

    def __init__(
        self, record: JoinStore, seals: JoinCodec, claim: LeaderLease, patience: BrokerRetry, *, run_id: str
    ) -> None:
        self._record, self._seals, self._claim, self._patience = record, seals, claim, patience
        self.run_id = run_id

    def open(
        self, plan: RunPlan, coverage_dir: Path | None
    ) -> tuple[RunPlan, BrokerJournal, FinishedAttempts]:
        """Return the plan, the journal, and the attempts that finished in this round or passed in earlier
        ones.

        A pass of an earlier round stands: it is not verified here, and this machine's history of the file is
        ignored.

        Raises:
            PassmusterError: an entry is malformed or not signed with the secret.
            InfrastructureError: the broker is unavailable, or coverage data cannot be written.
        """
        found = self._patience.call(lambda: self._read(coverage_dir))
        ended = {key: result for key, (_, result) in found.items()}
        earlier = {path for (path, _), (number, _) in found.items() if number < self._claim.number}
        forked = {path for (path, _), result in ended.items() if result.isolation is Isolation.FORK}
        files = (
            _standing(item, was_forked=item.file.path in forked) if item.file.path in earlier else item
            for item in plan.files
        )
        plan = structs.replace(plan, files=tuple(files))
        # If another machine forked a file that must be spawned according to this machine's history, the
        # result would be trusted too much.
        unfit = forked & {item.file.path for item in plan.files if item.task.isolation is Isolation.SPAWN}
        return plan, self, {key: result for key, result in ended.items() if key[0] not in unfit}

    def add(self, results: Sequence[TestResult]) -> None:
        """Record finished attempts, with their coverage data.

        Raises:
            NotLeadingError: another machine leads; nothing was written.
            InfrastructureError: the broker was unavailable for too long.
        """
        entries = [self._entry(result) for result in results]
        if entries:
            # An entry that was written twice because the first reply was lost counts once.
            self._patience.call(lambda: self._record.append(self._claim, entries))

    def end(self) -> None:
        """Do nothing: the round ends when its result is published."""

    def _entry(self, result: TestResult) -> str:
        coverage = tuple(pack_bytes(Path(path).read_bytes()) for path in result.coverage_files)
        return self._seals.encode_result(self._claim.number, encode_result(result), coverage)

    def _read(self, coverage_dir: Path | None) -> dict[tuple[str, int], tuple[int, TestResult]]:
        """Return the results that count, each with its round."""
        counts_from: dict[str, int] = {}
        found: dict[tuple[str, int], tuple[int, TestResult]] = {}
        for kind, text in self._record.entries():
            if kind == "round":
                new = self._seals.decode_round(text)
                counts_from |= dict.fromkeys(new.paths, new.number)
                found = {key: one for key, one in found.items() if one[0] >= counts_from.get(key[0], 1)}
                continue
            number, plain, coverage = self._seals.decode_result(text)
            result = decode_result(plain)
            if number >= counts_from.get(result.file_path, 1):
                files = tuple(_kept(coverage, coverage_dir))
                whole = structs.replace(result, coverage_files=files)
                found[result.file_path, result.attempt] = (number, whole)
        return found


def _standing(item: PlannedFile, *, was_forked: bool) -> PlannedFile:
    """Return a planned file that passed in an earlier round, marked so that its result keeps its meaning."""
    isolation = (
        Isolation.AUTO if was_forked and item.task.isolation is Isolation.SPAWN else item.task.isolation
    )
    task = structs.replace(item.task, isolation=isolation)
    return structs.replace(item, task=task, failed_before=False, is_fork_verified=True)


def _kept(coverage: Sequence[str], folder: Path | None) -> Iterator[str]:
    """Yield the coverage data files that were written."""
    if folder is None:
        return
    for packed in coverage:
        path = folder / f".coverage.{secrets.token_hex(8)}"
        try:
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            data = unpack_bytes(packed, limit_bytes=MAX_PARTS_BYTES)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
        except OSError as error:
            raise InfrastructureError(f"coverage data cannot be written to {path}: {error}") from error
        yield str(path)

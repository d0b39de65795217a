"""The diary of a round on the broker: whoever leads writes it, whoever leads after that goes on from it."""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from dispatcher.join.patience import Patience
from dispatcher.plan import Plan
from dispatcher.run.journal import Ended
from passmuster.codec import decode_result, encode_result
from passmuster.envelope import MAX_PARTS_BYTES, pack_bytes, unpack_bytes
from passmuster.errors import InfrastructureError
from passmuster.join_record import Claim, JoinRecord
from passmuster.join_words import JoinSeals
from passmuster.result import TestResult
from passmuster.status import Isolation


class JoinedRun:
    """A round, held by this machine. Both a `SharedRun` and its `Diary`.

    Args:
        record: of the run.
        seals: seal and open what is written.
        claim: the right to write.
        patience: waits for a broker that is away.
        run_id: of the round.
    """

    def __init__(
        self, record: JoinRecord, seals: JoinSeals, claim: Claim, patience: Patience, *, run_id: str
    ) -> None:
        self._record, self._seals, self._claim, self._patience = record, seals, claim, patience
        self.run_id = run_id

    def open(self, plan: Plan, coverage_dir: Path | None) -> tuple[JoinedRun, Ended]:
        """Return the diary, and what has ended in this round, or passed in those before it.

        Raises:
            PassmusterError: an entry is none of ours.
            InfrastructureError: the broker is away, or coverage data cannot be written.
        """
        found = self._patience.ask(lambda: self._read(coverage_dir))
        return self, _fit(found, plan)

    def add(self, results: Sequence[TestResult]) -> None:
        """Write down that attempts have ended, with their coverage data.

        Raises:
            NotLeadingError: another machine leads; nothing was written.
            InfrastructureError: the broker was away for too long.
        """
        entries = [self._entry(result) for result in results]
        if entries:
            # One that was written though no answer came, and is written again, counts once.
            self._patience.ask(lambda: self._record.append(self._claim, entries))

    def end(self) -> None:
        """Nothing: the round ends when its outcome is there."""

    def _entry(self, result: TestResult) -> str:
        coverage = tuple(pack_bytes(Path(path).read_bytes()) for path in result.coverage_files)
        return self._seals.result(self._claim.number, encode_result(result), coverage)

    def _read(self, coverage_dir: Path | None) -> dict[tuple[str, int], TestResult]:
        counts_from: dict[str, int] = {}
        found: dict[tuple[str, int], TestResult] = {}
        for kind, text in self._record.entries():
            if kind == "round":
                new = self._seals.opened_round(text)
                counts_from |= dict.fromkeys(new.paths, new.number)
                found = {key: result for key, result in found.items() if key[0] not in counts_from}
                continue
            number, plain, coverage = self._seals.opened_result(text)
            result = decode_result(plain)
            if number >= counts_from.get(result.file_path, 1):
                files = tuple(_kept(coverage, coverage_dir))
                found[result.file_path, result.attempt] = dataclasses.replace(result, coverage_files=files)
        return found


def _fit(found: dict[tuple[str, int], TestResult], plan: Plan) -> Ended:
    """Return what a plan of this machine can go on from.

    Where another machine forked a file, and this one's history says that it must not be, what came of it
    would be taken for more than it is.
    """
    spawned = {item.task.file_path for item in plan.files if item.task.isolation is Isolation.SPAWN}
    forked = {path for (path, _), result in found.items() if result.isolation is Isolation.FORK}
    return {key: result for key, result in found.items() if key[0] not in spawned & forked}


def _kept(coverage: Sequence[str], folder: Path | None) -> Iterator[str]:
    """Yield where coverage data was written."""
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

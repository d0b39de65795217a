"""Reads the report of a test process: one JSON object per line, on a descriptor of its own.

The other end is `worker/child/passmuster_child_report.py`. A test may write to that descriptor too, so
every line is checked: a line that is not a valid record counts as stray text and changes nothing.
At a timeout, the interpreter itself writes its stacks to the same descriptor.

Records, by their first key:
    {"runner": "script"}                        how the file is executed, once
    {"defines": 3, "ran": 1}                    tests that a script defines, and how many of them ran
    {"collected": 3} / {"deselected": 2}        tests that pytest will run, or leaves out
    {"quit": reason}                            pytest ended before all collected tests had run
    {"case": id, "outcome": ..., "s": 0.1, "message": ..., "shared": 0.05}
    {"begin": 1} / {"done": 1}                  a test framework's outermost run starts, finishes
    {"collect": message}                        the file could not be loaded, so its tests are unknown
    {"start": message}                          the file could not be read at all
    {"imports": "numpy yaml"}                   installed modules that it imports by itself
    {"inputs": "read", "values": [...]}         what it read, see `worker.process.input_report`
    {"inputs": "end", "unsure": reason, "network": 0}
    {"stale": test}                             a quarantined test that the file does not have
    {"part": digest, "of": 9, "start": 3, "stop": 6}    which of the collected tests a part of the file runs
    {"uncut": reason}                           the file cannot run in parts, so this one ran no test
    {"unforked": reason}                        the forked process became a spawned one before anything ran
"""

from __future__ import annotations

import json

from passmuster.model.result import CaseResult
from passmuster.model.status import Outcome, RunnerKind
from worker.process.input_report import PREFIX, InputReport

LINE_LIMIT_BYTES = 256 * 1024
"""A longer line is cut: the child bounds its messages to far less."""

CASES_LIMIT = 200_000
"""Maximum number of kept cases; further cases are only counted. No real file has as many."""

MESSAGES_LIMIT_CHARS = 8 * 1024 * 1024
"""Maximum characters of all messages of a file, so that the result fits a message on the broker."""

IDS_LIMIT_CHARS = 32 * 1024 * 1024
"""Maximum characters of all case IDs of a file; further cases are only counted."""

NOT_KEPT = "(not kept: the messages of this file are too long together)"

STRAY_LIMIT_BYTES = 256 * 1024
"""Maximum bytes of stray text: enough for the stacks of hundreds of threads."""

STALE_LIMIT = 1000
"""Maximum number of quarantined tests that a file may report as missing."""

_DIGEST_CHARS = 64

_MAX_SECONDS = 1e9
"""Thirty years; a longer duration of a test is invalid."""

_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_RUNNERS = {runner.value: runner for runner in RunnerKind}


class ChildReport:
    """The report of a test process so far."""

    def __init__(self) -> None:
        self.runner = RunnerKind.AUTO
        self.defines = 0
        self.defined_ran = 0
        self.collected = 0
        self.deselected = 0
        self.quit_reason = ""
        self.cases: list[CaseResult] = []
        self.dropped_cases = 0
        self.begun = 0
        self.done = 0
        self.collect_error = ""
        self.start_error = ""
        self.spawn_reason = ""
        self.imports: list[str] = []
        self.stale_quarantine: list[str] = []
        self.part_digest = ""
        self.part_of = self.part_start = self.part_stop = 0
        self.part_problem = ""
        self.inputs = InputReport()
        self._message_chars = 0
        self._id_chars = 0
        self._stray = bytearray()
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Process the next bytes from the descriptor."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._rest) > LINE_LIMIT_BYTES:
            self._take(self._rest)
            self._rest = b""

    @property
    def stray_text(self) -> str:
        """Everything written to the descriptor that is not a valid record."""
        return (bytes(self._stray) + self._rest).decode("utf-8", "backslashreplace")

    @property
    def is_running(self) -> bool:
        """Whether a test framework started a run and has not finished it."""
        return self.begun > self.done

    def _take(self, line: bytes) -> None:
        if not self._is_record(line) and len(self._stray) < STRAY_LIMIT_BYTES:
            self._stray += line[:LINE_LIMIT_BYTES] + b"\n"

    def _is_record(self, line: bytes) -> bool:
        """Process a line as a record; return False if it is not one."""
        if not line.startswith(b"{"):
            return False
        if line.startswith(PREFIX):
            return self.inputs.add(line)
        try:
            record = json.loads(line.decode())  # Given text, json need not detect the encoding.
        except (ValueError, RecursionError):  # RecursionError: nested thousands deep.
            return False
        match record:
            case {"case": str(case_id), "outcome": str(outcome), "s": int() | float() as seconds, **rest}:
                shared_s = rest.get("shared", 0.0)
                return isinstance(shared_s, int | float) and self._add_case(
                    case_id, outcome, seconds, str(rest.get("message", "")), shared_s
                )
            case {"runner": str(runner)} if runner in _RUNNERS:
                self.runner = _RUNNERS[runner]
            case {"defines": int(defines), "ran": int(ran)} if 0 <= ran <= defines:
                self.defines, self.defined_ran = defines, ran
            case {"collected": int(number)} if number >= 0:
                self.collected += number
            case {"deselected": int(number)} if number >= 0:
                self.deselected += number
            case {"quit": str(message)}:
                self.quit_reason = _encodable(message)
            case {"begin": 1}:
                self.begun += 1
            case {"done": 1}:
                self.done += 1
            case {"collect": str(message)}:
                self.collect_error = self.collect_error or _encodable(message)
            case {"start": str(message)}:
                self.start_error = _encodable(message)
            case {"imports": str(words)}:
                self.imports.extend(name for name in words.split() if _is_module(name))
            case {"stale": str(test)} if len(self.stale_quarantine) < STALE_LIMIT:
                self.stale_quarantine.append(_encodable(test))
            case {"part": str(digest), "of": int(of), "start": int(start), "stop": int(stop)} if (
                0 <= start <= stop <= of
            ):
                self.part_digest = _encodable(digest)[:_DIGEST_CHARS]
                self.part_of, self.part_start, self.part_stop = of, start, stop
            case {"uncut": str(message)}:
                self.part_problem = _encodable(message)
            case {"unforked": str(message)}:
                self.spawn_reason = _encodable(message)
            case _:
                return False
        return True

    def _add_case(self, case_id: str, outcome: str, seconds: float, message: str, shared_s: float) -> bool:
        # Python's JSON accepts NaN and integers beyond every float; the child never writes them.
        are_times = 0 <= seconds <= _MAX_SECONDS and 0 <= shared_s <= _MAX_SECONDS
        if outcome not in _OUTCOMES or not are_times:
            return False
        self._id_chars += len(case_id)
        if len(self.cases) >= CASES_LIMIT or self._id_chars > IDS_LIMIT_CHARS:
            self.dropped_cases += 1
        else:
            self._message_chars += len(message)
            if self._message_chars > MESSAGES_LIMIT_CHARS and message:
                message = NOT_KEPT
            self.cases.append(
                CaseResult(
                    case_id=_encodable(case_id),
                    outcome=_OUTCOMES[outcome],
                    seconds=float(seconds),
                    message=_encodable(message),
                    shared_s=float(shared_s),
                )
            )
        return True


def _is_module(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _encodable(text: str) -> str:
    """Escape half a surrogate pair, which JSON can express but UTF-8, and therefore a report, cannot."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")

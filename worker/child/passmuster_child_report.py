"""Writes records about the tests to the runner: the other end of `worker/process/child_report.py`.

Each record is one JSON object on one line, written by a single `write` so that records never mix. Only the
process that the runner started reports; processes that a test forks do not. A test may close the descriptor,
and another file may then get its number, so the identity of the descriptor is checked before every record.
"""

from os import fstat, getpid, set_inheritable, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

MESSAGE_LIMIT = 8000
"""Characters kept of one message: a long traceback, and far below what a pipe takes at once (64 KiB)."""

ANOTHER = "\n[... another failure of this test ...]\n"
"""Separates the messages of one test that failed more than once: in subtests, or in its tear-down too."""

_MIN_SHARED_S = 0.001
"""Shorter set-ups of shared fixtures are not reported: most tests have some that take microseconds."""

IMPORTS_EACH = 50
"""Imports in one record: far below the limit of a message."""

INPUTS_EACH = 16_000
"""Characters after which a record of inputs ends, likewise."""


def _make_encoder() -> "Callable[[str], str]":
    try:
        # The C function behind `json.dumps`: importing all of `json` costs each test process milliseconds.
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii
    return encode_basestring_ascii


_quote = _make_encoder()


class ReportWriter:
    """Sends records on one descriptor; never raises and never blocks a test for long."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pid = getpid()
        self.cases = 0
        self.collected = 0
        """Tests that pytest collected in this process."""
        self.ran: "set[tuple[int, str]]" = set()
        """Tests that unittest ran: the id of each class that a test belongs to, and the method's name."""
        self.skipped: "set[str]" = set()
        """Classes and modules whose set-up skipped their tests, as unittest names that."""
        self.on_begin: "Callable[[], None] | None" = None
        try:
            set_inheritable(descriptor, False)  # noqa: FBT003 - positional only.
            self._identity: "tuple[int, int] | None" = self._identify()
        except OSError:
            self._identity = None

    @property
    def descriptor(self) -> int:
        """The descriptor that reports go to."""
        return self._descriptor

    def case(
        self, case_id: str, outcome: str, seconds: float, message: str = "", *, shared_s: float = 0.0
    ) -> None:
        """Report one test.

        Args:
            outcome: a value of the runner's `Outcome`.
            shared_s: the seconds of it in which fixtures were set up that later tests use too.
        """
        self.cases += 1
        extra = ', "message": ' + _quote(bound(message)) if message else ""
        if shared_s >= _MIN_SHARED_S:
            extra += ', "shared": %.6f' % shared_s
        self._send(
            '{"case": %s, "outcome": "%s", "s": %.6f%s}'
            % (_quote(str(case_id)[:2000]), outcome, max(0.0, seconds), extra)
        )

    def mark(self, key: str) -> None:
        """Report that a test framework's outermost run `begin`s or is `done`."""
        self._send('{"%s": 1}' % key)

    def tests_begin(self) -> None:
        """Note that the first test is about to run: everything that the tests need has been imported."""
        if self.on_begin is not None:
            self.on_begin()

    def count(self, key: str, number: int) -> None:
        """Report how many tests pytest `collected` or `deselected`."""
        if key == "collected":
            self.collected += number
        self._send('{"%s": %d}' % (key, number))

    def part(self, digest: str, collected: int, start: int, stop: int) -> None:
        """Report which of the tests that were collected belong to this part of the file.

        Args:
            digest: of the names of all of them, in their order.
            start: the position of its first test.
            stop: the position behind its last test.
        """
        self._send('{"part": "%s", "of": %d, "start": %d, "stop": %d}' % (digest, collected, start, stop))

    def defines(self, count: int, ran: int) -> None:
        """Report how many tests a script defines, and how many of them ran."""
        self._send('{"defines": %d, "ran": %d}' % (count, ran))

    def imports(self, names: "list[str]") -> None:
        """Report installed modules that the file imports by itself."""
        for start in range(0, len(names), IMPORTS_EACH):
            self.text("imports", " ".join(names[start : start + IMPORTS_EACH]))

    def inputs(self, records: "list[str]", unsure: str, *, has_network: bool) -> None:
        """Report what the process has read (`input_records`).

        It is complete except for the reason in `unsure`; empty: there is none.
        """
        for record in records:
            self._send(record)
        self._send('{"inputs": "end", "unsure": %s, "network": %d}' % (_quote(unsure), has_network))

    def text(self, key: str, value: str) -> None:
        """Report a text: the `runner`, a `collect` or `start` error, why pytest `quit` early, and more."""
        self._send('{"%s": %s}' % (key, _quote(bound(value))))

    def _identify(self) -> "tuple[int, int]":
        status = fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def _send(self, line: str) -> None:
        try:
            if getpid() == self._pid and self._identity and self._identify() == self._identity:
                write(self._descriptor, line.encode("ascii", "backslashreplace") + b"\n")
        except OSError:
            pass


def input_records(kind: str, values: "list[str]") -> "list[str]":
    """Return records of what a process has read, of one kind (`passmuster_child_inputs`)."""
    lines: "list[list[str]]" = []
    size = INPUTS_EACH + 1
    for value in values:
        if size > INPUTS_EACH:
            lines.append([])
            size = 0
        lines[-1].append(_quote(value))
        size += len(lines[-1][-1])
    return ['{"inputs": "%s", "values": [%s]}' % (kind, ", ".join(line)) for line in lines]


def bound(message: str) -> str:
    """Cut a message to its head and tail, which is where a traceback says what and where."""
    if len(message) <= MESSAGE_LIMIT:
        return message
    half = MESSAGE_LIMIT // 2
    return message[:half] + "\n[... cut ...]\n" + message[-half:]

"""A run's output on a CI: streams that escape test output, and the reporters around the console.

`detection` finds the CI, `reporters` decide what is printed, and `logs` defines the format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self
from urllib.parse import quote

from dispatcher.config.choices import Verbosity
from dispatcher.model.ci import Ci
from dispatcher.model.events import Reporter
from dispatcher.reporters.ci.logs import LOGS
from dispatcher.reporters.ci.plain import PlainOutput
from dispatcher.reporters.ci.reporters import FoldReporter, SummaryReporter, VerdictReporter
from dispatcher.terminal.stream import SafeStream, TextStream
from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.text import one_line

_SERVER = re.compile(r"https?://[A-Za-z0-9.:-]+")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def project_folder(ci: Ci, environ: Mapping[str, str], root: Path) -> str:
    """Return the project root in the repository, with a slash at its end; empty: it is the repository.

    It is also empty if the repository's directory is unknown, or the root lies elsewhere.
    """
    named = environ.get(ci.checkout, "")
    checkout = Path(named)
    for place, folder in ((root, checkout), (root.resolve(), checkout.resolve())):
        if named and place.is_relative_to(folder):
            inner = place.relative_to(folder).as_posix()
            return "" if inner == "." else f"{inner}/"
    return ""


def source_url(environ: Mapping[str, str], folder: str) -> str:
    """Return the URL prefix of the project's files of this commit on GitHub, ending with a slash, or ""."""
    server, repository, commit = (
        environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "SHA")
    )
    is_known = _SERVER.fullmatch(server) and _REPOSITORY.fullmatch(repository) and _COMMIT.fullmatch(commit)
    return f"{server}/{repository}/blob/{commit}/{quote(folder)}" if is_known else ""


class EscapingStream:
    """A stream that escapes test output so that the CI does not obey it; all foreign text is written here.

    Args:
        stream: the underlying stream.
        inert: escapes a text; it gets whole lines.
    """

    def __init__(self, stream: TextStream, inert: Callable[[str], str]) -> None:
        self._stream = stream
        self._inert = inert

    @property
    def encoding(self) -> str | None:
        """The encoding of what is written."""
        return self._stream.encoding

    def write(self, text: str, /) -> int:
        """Write whole lines."""
        self._stream.write(self._inert(text))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the descriptor behind the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Return False: the CI's commands would corrupt a terminal's footer."""
        return False


class CiOutput(PlainOutput):
    """The output for one CI, from before the run to its last line.

    Args:
        root: the project root.
        environ: names the repository and the summary file.
        out: standard output.
        err: standard error.
        verbosity: of the console. A verbose one prints every output already, so nothing is folded.
    """

    def __init__(
        self,
        ci: Ci,
        *,
        root: Path,
        environ: Mapping[str, str],
        out: TextStream,
        err: TextStream,
        verbosity: Verbosity,
    ) -> None:
        self._ci = ci
        self._verbosity = verbosity
        self._environ = environ
        self._folder = project_folder(ci, environ, root)
        self._log = LOGS[ci.log](self._folder)
        self._ours = SafeStream(out)
        super().__init__(EscapingStream(out, self._log.inert), EscapingStream(err, self._log.inert_warning))
        self._warnings = SafeStream(self.err)

    def __enter__(self) -> Self:
        self._ours.write(self._log.begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.write(self._log.end())

    def around(self, console: Reporter) -> Sequence[Reporter]:
        """Return the console reporter with the reporters that must run before and after it."""
        fold = FoldReporter(self._log, self._ours.write)
        before: list[Reporter] = [VerdictReporter(self._log, self._ours.write, lambda: fold.left_out)]
        if self._ci.summary:
            path = self._environ.get(self._ci.summary, "")
            before.append(SummaryReporter(path, source_url(self._environ, self._folder), self._warn))
        after = [] if self._verbosity is Verbosity.VERBOSE else [fold]
        return [*before, console, *after]

    def _warn(self, text: str) -> None:
        self._warnings.write(f"{tagged(Tag.WARN, one_line(text), color=False)}\n")

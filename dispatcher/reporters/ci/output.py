"""A run's output on a CI: streams that neutralize test output, and the reporters around the console.

`model/ci.py` finds the CI, `reporters` decide what is printed, and `logs` defines the format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import quote

from dispatcher.config.choices import Verbosity
from dispatcher.config.model import TestConfig
from dispatcher.model.ci import Ci
from dispatcher.model.events import Reporter, RunStarted
from dispatcher.model.results import TestResults
from dispatcher.reporters.ci.logs import LOGS, CiLog
from dispatcher.reporters.ci.reporters import FoldReporter, ResultReporter, append_summary
from dispatcher.reporters.ci.summary import PageRequest, summary_page
from dispatcher.reporters.console.line_reporter import PlainOutput
from dispatcher.reporters.console.lines import memory_budget
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
    """Neutralizes test output so that the CI does not obey it; all foreign text is written here.

    Args:
        neutralize: is called with whole lines.
    """

    def __init__(self, stream: TextStream, neutralize: Callable[[str], str]) -> None:
        self._stream = stream
        self._neutralize = neutralize

    @property
    def encoding(self) -> str | None:
        """The encoding of what is written."""
        return self._stream.encoding

    def write(self, text: str, /) -> int:
        """Write whole lines."""
        self._stream.write(self._neutralize(text))
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
        environ: names the repository and the summary file.
    """

    def __init__(self, ci: Ci, plain: PlainOutput, config: TestConfig, environ: Mapping[str, str]) -> None:
        self._ci, self._environ = ci, environ
        # A verbose console prints every output already.
        self._folds = config.verbosity is not Verbosity.VERBOSE
        self._folder = project_folder(ci, environ, config.root)
        self._log = LOGS.get(ci.choice, CiLog)(self._folder)
        self._ours = SafeStream(plain.out)
        super().__init__(
            EscapingStream(plain.out, self._log.neutralize),
            EscapingStream(plain.err, self._log.neutralize_warning),
            document=plain.document,
        )
        self._warnings = SafeStream(self.err)

    def __enter__(self) -> Self:
        self._ours.write(self._log.begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._ours.write(self._log.end())

    def around(self, console: Reporter) -> Sequence[Reporter]:
        """Return the console reporter with the reporters that must run before and after it."""
        fold = FoldReporter(self._log, self._ours.write)
        write_page = self._write_page if self._ci.summary else None
        result = ResultReporter(self._log, self._ours.write, fold, write_page)
        return [result, console, fold] if self._folds else [result, console]

    def _write_page(self, started: RunStarted, results: TestResults) -> None:
        request = PageRequest(
            results=results,
            budget=memory_budget(started.limits),
            planned={one.file.path: one for one in started.plan.files},
            source_url=source_url(self._environ, self._folder),
        )
        problem = append_summary(self._environ.get(self._ci.summary, ""), partial(summary_page, request))
        if problem is not None:
            self._warnings.write(f"{tagged(Tag.WARN, one_line(problem))}\n")

"""Writes the HTML report when the run has finished: complete, or not at all.

The page loads nothing and runs only its own script: its content security policy contains the hashes of
`page.css` and `page.js`, so that nothing else in the page can run, style, load or send anything.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Callable, Iterator
from pathlib import Path

from dispatcher.model.events import RunEvent, RunFinished
from dispatcher.reporters.console.line_reporter import RerunCommand
from dispatcher.reporters.html.data import counted, page_values
from dispatcher.reporters.html.entries import LOOKS
from dispatcher.reporters.html.report_model import EarlierRuns, ReportModel
from dispatcher.reporters.templates import make_environment
from dispatcher.terminal.atomic_write import atomic_writer, check_place
from passmuster.model.errors import InfrastructureError
from passmuster.model.units import format_bytes, format_seconds
from passmuster.model.version import VERSION

_HERE = Path(__file__).parent

FILE_NAME = "report.html"
"""The page's name in a run's own directory."""


class HtmlReporter:
    """Writes the page.

    Args:
        path: None: in the run's own directory below `runs_dir`, readable for the user only.
        earlier_runs: returns the earlier runs of files.
        say: receives one line with the path of the written page.

    Raises:
        ConfigurationError: the file cannot be written.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        runs_dir: Path,
        earlier_runs: EarlierRuns,
        rerun: RerunCommand,
        say: Callable[[str], None],
    ) -> None:
        self._path, self._runs_dir, self._say = path, runs_dir, say
        self._model = ReportModel(earlier_runs, rerun)
        if path is not None:
            check_place(path, what="report", option="--report")

    def handle(self, event: RunEvent) -> None:
        """Process an event, and write the page after the last.

        Raises:
            InfrastructureError: the page cannot be written.
        """
        self._model.handle(event)
        if isinstance(event, RunFinished):
            self._write()

    def close(self) -> None:
        """Do nothing: a run that did not finish has no page."""

    def _write(self) -> None:
        path = self._path or self._runs_dir / self._model.run_id / FILE_NAME
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # `merge` has no run directory.
            with atomic_writer(path, mode=0o666 if self._path else 0o600) as file:
                file.writelines(render_page(self._model))
        except OSError as error:
            raise InfrastructureError(
                f"cannot write the report to {str(path)!r}: {error.strerror or error}"
            ) from error
        self._say(f"Report: {path}")


def render_page(model: ReportModel) -> Iterator[str]:
    """Yield the page in pieces."""
    from markupsafe import Markup

    style, script = (Markup((_HERE / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    filters: dict[str, Callable[..., object]] = {
        "bytes": format_bytes,
        "counted": counted,
        "grouped": "{:,}".format,
        "look": LOOKS.__getitem__,
        # Keeps the line breaks of a printed text; `PrintedText` has no control characters.
        "printed": lambda text: Markup(html.escape(text, quote=False)),
        "seconds": format_seconds,
    }
    template = make_environment(_HERE, escape=html.escape, filters=filters).get_template("page.html.j2")
    yield from template.generate(
        page_values(model),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        version=VERSION,
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

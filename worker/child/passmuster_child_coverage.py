"""Measures one test file as `coverage run FILE` would, under the project's own interpreter.

Called by the bootstrap of a test process around the file's main code. `load` comes before the bootstrap
arranges `sys.path` as the file expects it (so that no module of the project shadows coverage), `start`
after that (plugins of the project are found) and before anything of the project is imported, and `stop`
where `coverage run` stops: when the main code ended, before other threads are waited for and before
`atexit` callbacks run. Standard library and the project's `coverage` only; Python 3.9 and later.

What differs from `coverage run`, none of it in the combined data:

- each process writes a data file of its own, `<data_file>.<host>.<pid>...`, so forks overwrite nothing;
- files that were never executed are searched once, when the data is combined, and not in each process;
- SIGTERM saves the data first, only in this process: a forked child dies as it would without coverage.
- warnings that only make sense for a whole run (`Module ... was never imported`) are not printed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from os import getpid, kill
from signal import getsignal
from signal import signal as set_signal

TYPE_CHECKING = False  # Importing `typing` only for this would cost each process a millisecond.
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType
    from typing import Callable, Union

    import coverage

    Handler = Union[Callable[[int, "FrameType | None"], object], int, None]

_QUIET_WARNINGS = (
    "already-imported",
    "module-not-imported",
    "module-not-measured",
    "module-not-python",
    "no-data-collected",
)
"""They are true of a single file as a rule, and would be in the output of each."""

_SOURCE_OPTIONS = ("run:source", "run:source_pkgs", "run:source_dirs", "run:include")


class CoverageStartError(Exception):
    """The project's coverage cannot measure; the message is one line for the user."""


class Measurement:
    """A measurement under way: what `start` returns and `stop` takes."""

    def __init__(self, cov: coverage.Coverage) -> None:
        self.cov = cov
        self.owner_pid = getpid()
        self.is_saving = False
        self.is_saved = False
        self.is_terminated = False
        self.handles_sigterm = False

    def on_sigterm(self, _signum: int, _frame: FrameType | None) -> None:
        """Save what was measured, then die of the signal after all."""
        if getpid() == self.owner_pid:
            if self.is_saving:
                # The signal interrupted the saving itself, which ends the process when it is done.
                self.is_terminated = True
                return
            save(self)
        set_signal(signal.SIGTERM, signal.SIG_DFL)
        kill(getpid(), signal.SIGTERM)

    def forget_in_fork(self) -> None:
        """Give a forked child the default handler: without us it would have had it."""
        if self.handles_sigterm and getsignal(signal.SIGTERM) == self.on_sigterm:
            set_signal(signal.SIGTERM, signal.SIG_DFL)


def available() -> bool:
    """Return whether this interpreter has coverage. Imports nothing of it."""
    import importlib.util

    try:
        spec = importlib.util.find_spec("coverage")
    except (ImportError, ValueError):
        return False
    # A folder of reports called `coverage` looks like a namespace package, which has no origin.
    return spec is not None and spec.origin is not None


def load() -> None:
    """Import coverage, the dearest part (about 0.1 s), while `sys.path` is still the interpreter's own.

    Raises:
        CoverageStartError: it is missing or cannot be imported.
    """
    try:
        import coverage  # noqa: F401  # It is wanted in `sys.modules`.
    except Exception as exc:  # Importing runs foreign code, which may raise anything.
        raise CoverageStartError(_one_line("coverage cannot be imported", exc)) from exc


def start(settings: Mapping[str, object]) -> Measurement:
    """Begin to measure this process.

    Args:
        settings: `data_file`, absolute, in a directory that belongs to this file alone; `source`, a
            list as for `coverage run --source`, empty: what the project's coverage configuration
            says, and where that says nothing the working directory.

    Raises:
        CoverageStartError: coverage is missing, or the project's configuration of it is wrong.
    """
    load()
    import coverage

    source = settings.get("source") or None
    try:
        cov = coverage.Coverage(
            data_file=str(settings["data_file"]),
            data_suffix=True,
            source=source,  # type: ignore[arg-type]  # JSON; a list of strings by agreement.
            config_file=True,
        )
        if source is None and not any(_option(cov, name) for name in _SOURCE_OPTIONS):
            cov.set_option("run:source", ["."])
        _extend_option(cov, "run:omit", [os.path.join(os.path.dirname(os.path.abspath(__file__)), "*")])
        _extend_option(cov, "run:disable_warnings", _QUIET_WARNINGS)
        # Set by `coverage run`; some projects' configurations and tests look for it.
        os.environ["COVERAGE_RUN"] = "true"
        cov.start()
    except Exception as exc:  # Plugins and configuration are the project's and may raise anything.
        raise CoverageStartError(_one_line("coverage cannot start", exc)) from exc
    _leave_out_the_search(cov)
    measurement = Measurement(cov)
    _handle_sigterm(measurement)
    return measurement


def stop(measurement: Measurement) -> bool:
    """Stop, save, and give SIGTERM back; False: the data could not be saved, which stderr tells.

    To be called once, from the thread that called `start`, whatever the main code ended with. A forked
    child that comes out of the main code as well calls it too, and saves data of its own.
    """
    saved = save(measurement)
    if measurement.handles_sigterm and getsignal(signal.SIGTERM) == measurement.on_sigterm:
        set_signal(signal.SIGTERM, signal.SIG_DFL)
    if measurement.is_terminated:
        kill(getpid(), signal.SIGTERM)
    return saved


def save(measurement: Measurement) -> bool:
    """Stop measuring and write the data; False: it could not be written."""
    measurement.is_saving = True
    try:
        measurement.cov.stop()
        measurement.cov.save()
        measurement.is_saved = True
    except Exception as exc:  # A full disk or a broken plugin must not change the file's verdict.
        sys.stderr.write(_one_line("coverage data could not be saved", exc) + "\n")
    finally:
        measurement.is_saving = False
    return measurement.is_saved


def _handle_sigterm(measurement: Measurement) -> None:
    """Save at SIGTERM, unless that signal already has a handler.

    Not by coverage's own `sigterm` setting: that one stays in force in forked children and is handed to
    subprocesses, which then deliver data that a run without it does not have.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return
    set_signal(signal.SIGTERM, measurement.on_sigterm)
    measurement.handles_sigterm = True
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=measurement.forget_in_fork)


def _leave_out_the_search(cov: coverage.Coverage) -> None:
    """Keep `save` from walking the source folders for files that were never executed.

    The combining process does that once, and the totals are the same; here it would cost every process
    a walk and thousands of rows. Packages named as source are searched for only where they were
    imported, which the combining process cannot know, so then everything stays as it is. There is no
    public switch for this: where the attributes are not what they were, nothing is left out.
    """
    in_or_out = getattr(cov, "_inorout", None)
    if getattr(in_or_out, "source_pkgs", None) != []:
        return
    if callable(getattr(in_or_out, "find_possibly_unexecuted_files", None)):
        in_or_out.find_possibly_unexecuted_files = _find_nothing  # type: ignore[union-attr]  # Checked above.


def _find_nothing() -> Sequence[tuple[str, str | None]]:
    return ()


def _option(cov: coverage.Coverage, name: str) -> object:
    """Return a setting; None where this version of coverage does not know it."""
    try:
        return cov.get_option(name)
    except _coverage_error():
        return None


def _extend_option(cov: coverage.Coverage, name: str, more: Sequence[str]) -> None:
    present = _option(cov, name)
    cov.set_option(name, [*(present if isinstance(present, (list, tuple)) else ()), *more])


def _coverage_error() -> type[Exception]:
    """Return the base of coverage's exceptions; it moved between versions."""
    import coverage

    error = getattr(coverage, "CoverageException", Exception)
    return error if isinstance(error, type) and issubclass(error, Exception) else Exception


def _one_line(what: str, exc: BaseException) -> str:
    return "passmuster: {}: {}: {}".format(what, type(exc).__name__, " ".join(str(exc).split()))

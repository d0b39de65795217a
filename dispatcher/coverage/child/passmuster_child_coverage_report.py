"""Combines coverage data and writes the reports, under the project's own interpreter.

`dispatcher.coverage.combine` runs it once at the end of a run, in the directory the tests ran in,
with a JSON request on stdin, and reads a JSON answer from what was stdout. Standard library and the
project's `coverage` only; Python 3.9 and later.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import warnings

TYPE_CHECKING = False  # `typing` is not needed to run this.
if TYPE_CHECKING:
    from typing import Any, Callable, TextIO

    import coverage

_SOURCE_OPTIONS = ("run:source", "run:source_pkgs", "run:source_dirs", "run:include")


def main() -> int:
    """Answer one request; the status is 0 whenever there is an answer."""
    answer_stream = _claim_stdout()
    # The first entry is this script's own folder; reports run with the working directory instead, so
    # that plugins and configuration of the project are found as the `coverage` command finds them.
    del sys.path[0]
    import coverage

    sys.path.insert(0, os.getcwd())
    request = json.load(sys.stdin)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer = _report(coverage, request)
        except Exception as exc:  # Configuration and plugins are the project's and may raise anything.
            answer = {"error": _described(exc)}
    messages = [str(warning.message) for warning in caught if "coverage" in type(warning.message).__module__]
    answer["warnings"] = list(dict.fromkeys(answer.get("warnings", []) + messages))
    json.dump(answer, answer_stream)
    answer_stream.close()
    return 0


def _claim_stdout() -> TextIO:
    """Reserve stdout for the answer: everything else that prints goes to stderr."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stream


def _report(coverage_module: Any, request: dict[str, Any]) -> dict[str, Any]:
    cov = _new(coverage_module, request["combined_file"], request, suffix=None)
    cov.set_option("run:disable_warnings", ["no-data-collected", "already-imported", "module-not-imported"])
    unexecuted = _unexecuted_file(coverage_module, request)
    if request["other_roots"]:
        paths: Any = cov.get_option("paths")
        # First: the project's own patterns may be meant for what is left.
        cov.set_option("paths", {"passmuster": [request["root"], *request["other_roots"]], **(paths or {})})
    cov.combine(data_paths=[*request["data_files"], *unexecuted], strict=True, keep=True)
    cov.save()
    if not cov.get_data().measured_files():
        return {"error": "no data"}
    pages = _Forked(lambda: _write_pages(coverage_module, request))
    notes: list[str] = []
    with open(request["text_path"], "w", encoding="utf-8") as text:
        percent = _tolerant(cov, cov.report, notes, file=text, output_format="text")
    if request["xml_path"]:
        _tolerant(cov, cov.xml_report, notes, outfile=request["xml_path"])
    precision = cov.get_option("report:precision")
    answer = {"percent": percent, "precision": precision, "warnings": notes}
    error = pages.error()
    return {"error": error} if error else answer


def _write_pages(coverage_module: Any, request: dict[str, Any]) -> None:
    cov = _new(coverage_module, request["combined_file"], request, suffix=None)
    cov.load()
    _tolerant(cov, cov.html_report, [], directory=request["html_directory"])


class _Forked:
    """Work in a forked process, next to this one: each report analyzes all source files by itself."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._errors, errors = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            error = "a report ended early"
            try:
                work()
                error = ""
            except Exception as exc:
                error = _described(exc)
            finally:
                os.write(errors, error.encode("utf-8", "backslashreplace")[:_LONGEST_ERROR])
                os._exit(1 if error else 0)
        os.close(errors)

    def error(self) -> str:
        """Wait for the work to end; return why it failed, or an empty string."""
        with open(self._errors, encoding="utf-8", errors="replace") as errors:
            error = errors.read()
        _, status = os.waitpid(self._pid, 0)
        return error or ("a process that wrote a report ended with wait status %d" % status if status else "")


_LONGEST_ERROR = 4000
"""Bytes of an error, which a pipe holds until it is read."""


def _described(error: Exception) -> str:
    return "{}: {}".format(type(error).__name__, " ".join(str(error).split()))


def _new(
    coverage_module: Any, data_file: str, request: dict[str, Any], suffix: str | None
) -> coverage.Coverage:
    """Return a `Coverage` set up as in the test processes."""
    source = request["source"] or None
    cov: coverage.Coverage = coverage_module.Coverage(
        data_file=data_file, data_suffix=suffix, source=source, config_file=True
    )
    if source is None and not any(_option(cov, name) for name in _SOURCE_OPTIONS):
        cov.set_option("run:source", ["."])
    return cov


def _unexecuted_file(coverage_module: Any, request: dict[str, Any]) -> list[str]:
    """Write data that only names the files which could have been executed; the test processes did not.

    Measuring an empty run does this: saving it walks the source directories.
    """
    path = request["combined_file"] + ".unexecuted"
    cov = _new(coverage_module, path, request, suffix="all")
    for option, value in (
        ("run:patch", []),
        ("run:disable_warnings", ["no-data-collected", "module-not-imported"]),
    ):
        if _option(cov, option) is not None:
            cov.set_option(option, value)
    cov.start()
    exec(compile("def touched():\n    pass\n\ntouched()\n", "<passmuster>", "exec"), {})
    cov.stop()
    cov.save()
    written = path + ".all"
    return [written] if os.path.exists(written) else []


def _option(cov: coverage.Coverage, name: str) -> object:
    """Return a setting; None if this version of coverage does not know it."""
    try:
        return cov.get_option(name)
    except Exception:  # The base of coverage's exceptions moved between versions.
        return None


def _tolerant(
    cov: coverage.Coverage, write: Callable[..., float], notes: list[str], **arguments: Any
) -> float:
    """Call a report function of `cov`; a source file that is gone costs its row, not the whole report.

    Later reports leave such files out at once.
    """
    known = inspect.signature(write).parameters
    arguments = {name: value for name, value in arguments.items() if name in known}
    try:
        return write(**arguments)
    except Exception as exc:  # The base of coverage's exceptions moved between versions.
        if type(exc).__name__ not in ("NoSource", "NotPython"):
            raise
        notes.append(str(exc))
    if "file" in arguments:
        arguments["file"].seek(0)
        arguments["file"].truncate()
    cov.set_option("report:ignore_errors", value=True)
    return write(**arguments)


if __name__ == "__main__":
    sys.exit(main())

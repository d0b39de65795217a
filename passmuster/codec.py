"""Tasks and results as text for a wire, strictly: `decode(encode(x)) == x`, and nothing else is accepted.

A task's path is checked here for being relative and within its root by its letters; whether links lead out of
the root, only the worker can see. `coverage_files` of a result are paths on the worker's machine: whoever
receives a result must replace them and never open them.
"""

from __future__ import annotations

from passmuster.result import TestResult
from passmuster.strict_json import CodecError, dump, load
from passmuster.task import TestTask

__all__ = [
    "MAX_RESULT_CHARS",
    "MAX_TASK_CHARS",
    "CodecError",
    "decode_result",
    "decode_task",
    "encode_result",
    "encode_task",
]

MAX_TASK_CHARS = 256 * 1024
"""Characters of a task's text: a path, limits, and an environment that fits an `exec`."""

MAX_RESULT_CHARS = 64 * 1024 * 1024
"""Characters of a result's text: the output's 2 MiB, each byte six characters at worst, and many cases."""


def encode_task(task: TestTask) -> str:
    """Return `task` as text.

    Raises:
        CodecError: its path may not be sent, or the text would be longer than `MAX_TASK_CHARS`.
    """
    _check_path(task.file_path, "the task")
    return dump(task, what="the task", most_chars=MAX_TASK_CHARS)


def decode_task(text: str) -> TestTask:
    """Return the task that `text` holds.

    Raises:
        CodecError: it is not exactly a task of ours; names the place.
    """
    task = load(TestTask, text, what="the task", most_chars=MAX_TASK_CHARS)
    _check_path(task.file_path, "the task")
    return task


def encode_result(result: TestResult) -> str:
    """Return `result` as text.

    Raises:
        CodecError: its path may not be sent, or the text would be longer than `MAX_RESULT_CHARS`.
    """
    _check_path(result.file_path, "the result")
    return dump(result, what="the result", most_chars=MAX_RESULT_CHARS)


def decode_result(text: str) -> TestResult:
    """Return the result that `text` holds.

    Raises:
        CodecError: it is not exactly a result of ours; names the place.
    """
    result = load(TestResult, text, what="the result", most_chars=MAX_RESULT_CHARS)
    _check_path(result.file_path, "the result")
    return result


def _check_path(path: str, what: str) -> None:
    if not path:
        problem = "is empty"
    elif "\0" in path:
        problem = "holds a NUL"
    elif "\\" in path:
        problem = "holds a backslash"
    elif path.startswith("/"):
        problem = "is absolute"
    elif ".." in path.split("/"):
        problem = "leads upwards"
    else:
        return
    raise CodecError(
        f"{what}: file_path {ascii(path)[:100]} {problem}, it must be relative to the project root"
    )

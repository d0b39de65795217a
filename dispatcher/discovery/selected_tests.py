"""Decides which tests of each file run, and checks that what runs the file can select them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides
from dispatcher.model.plan import PlannedFile
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind
from passmuster.model.test_selection import SEPARATOR, TestSelection, is_expression
from passmuster.settings.origins import Origins
from passmuster.settings.values import on_one_line

if TYPE_CHECKING:
    import ast


class Selections:
    """The selection of each file of a run.

    Args:
        tests: the tests that the user named, by their file's path.
    """

    def __init__(self, config: TestConfig, tests: Mapping[str, tuple[str, ...]]) -> None:
        self._tests = tests
        self._everywhere = TestSelection(
            keyword=config.keyword or "",
            marker=config.marker or "",
            arguments=config.pytest_arguments,
            seed=config.shuffle or "",
        )
        self._rules = Overrides(config.overrides)
        self._deselected = _by_file(config.deselected)
        self._quarantined = _by_file(config.quarantine)

    def of(self, path: str, label: str) -> TestSelection:
        """Return the selection of a file.

        Args:
            path: relative to the root.
            label: relative to the working directory of the tests.
        """
        usual = self._everywhere
        arguments = self._rules.rule_for(path).pytest_arguments
        return replace(
            usual,
            tests=self._tests.get(path, ()),
            deselected=tuple(self._deselected.get(path) or self._deselected.get(label) or ()),
            quarantined=tuple(self._quarantined.get(path) or self._quarantined.get(label) or ()),
            arguments=usual.arguments if arguments is None else arguments,
        )


def quarantined_tests(config: TestConfig) -> tuple[str, ...]:
    """Return the tests of `quarantine` and those in `quarantine-file`, as `FILE::TEST`.

    Raises:
        ConfigurationError: the file that names them cannot be read.
    """
    path = config.quarantine_file
    if path is None:
        return config.quarantine
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"cannot read quarantine-file {on_one_line(str(path))}: {reason}") from error
    tests = (line.partition(" #")[0].strip() for line in lines)
    return (*config.quarantine, *(test for test in tests if test and not test.startswith("#")))


def stale_files(config: TestConfig, workdir: Path) -> Iterator[str]:
    """Yield a warning for each quarantined test whose file does not exist."""
    for text in config.quarantine:
        file, separator, test = text.partition(SEPARATOR)
        if not (separator and test):
            yield f"quarantine: {on_one_line(text)!r} names no test: expected FILE::TEST"
        elif not any((base / file).is_file() for base in (config.root, workdir)):
            yield f"quarantine: {on_one_line(text)}: the file does not exist any more; remove the entry"


def _by_file(texts: Iterable[str]) -> dict[str, list[str]]:
    """Return the tests named as `FILE::TEST` by their file."""
    tests: dict[str, list[str]] = {}
    for text in texts:
        file, _, test = text.partition(SEPARATOR)
        if test:
            tests.setdefault(file.removeprefix("./"), []).append(test)
    return tests


def check_selections(planned: Iterable[PlannedFile], origins: Origins) -> None:
    """Check that what runs each file can select its tests.

    Raises:
        ConfigurationError: it cannot, or an expression has a form that pytest refuses.
    """
    for one in planned:
        selection, runner = one.task.selection, one.task.runner
        if selection.is_whole_file:
            continue
        if runner in (RunnerKind.SCRIPT, RunnerKind.COMMAND):
            what = "as a script" if runner is RunnerKind.SCRIPT else "by a command of the project"
            raise ConfigurationError(
                f"{on_one_line(one.file.label)} runs {what}, so its tests cannot be selected: "
                "run the whole file, or set --runner pytest or --runner unittest"
            )
        if runner is RunnerKind.UNITTEST and selection.marker:
            raise ConfigurationError(
                f"marker (from {origins['marker']}) needs pytest, and unittest runs "
                f"{on_one_line(one.file.label)}: use -k, or --runner pytest"
            )
        if runner is RunnerKind.PYTEST:
            for name, text in (("keyword", selection.keyword), ("marker", selection.marker)):
                if text and not is_expression(text):
                    raise ConfigurationError(
                        f"wrong value for {name}: expected names joined by and, or, not, and parentheses, "
                        f"got {text!r} (from {origins[name]})"
                    )


def test_at(file: Path, line: int) -> str:
    """Return the test, or the class of tests, that a line of a file belongs to, as `Class::test`.

    Args:
        line: counted from 1.

    Raises:
        ValueError: the file cannot be read or parsed, or no test is there; the message says which lines hold
            tests.
    """
    import ast  # Only few runs name a line.

    try:
        tree = ast.parse(file.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except (SyntaxError, ValueError, RecursionError) as error:
        raise ValueError(f"cannot be parsed to find line {line}: {error}") from error
    tests = list(_tests(tree.body, ""))
    around = [name for name, start, end in tests if start <= line <= end]
    if around:
        return around[-1]  # The innermost comes last.
    if not tests:
        raise ValueError(f"holds no test function or class, so none at line {line}")
    name, start, end = min(tests, key=lambda one: min(abs(one[1] - line), abs(one[2] - line)))
    raise ValueError(f"holds no test at line {line}; the nearest is {name}, lines {start} to {end}")


def _tests(nodes: Iterable[ast.AST], parent: str) -> Iterator[tuple[str, int, int]]:
    """Yield each test function and class with its first and last line, outer ones first."""
    import ast

    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            is_class = isinstance(node, ast.ClassDef)
            name = f"{parent}{SEPARATOR}{node.name}" if parent else node.name
            start = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if is_class or node.name.startswith("test"):
                yield name, start, node.end_lineno or node.lineno
            if is_class:
                yield from _tests(node.body, name)
        elif not isinstance(node, ast.expr):  # Tests may stand below `if`, `else`, `except`, and the like.
            yield from _tests(ast.iter_child_nodes(node), parent)

"""Discovers the files and directories that the user named, instead of the layout's."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from msgspec import Struct

from dispatcher.discovery.layout import ResolvedLayout, is_below
from dispatcher.discovery.patterns import ORDINARY_EXCLUDED_NAMES, ORDINARY_PATTERNS
from dispatcher.discovery.selected_tests import test_at
from dispatcher.discovery.walk import Walker
from passmuster.model.errors import ConfigurationError
from passmuster.model.test_selection import SEPARATOR
from passmuster.settings.values import on_one_line


class Named(Struct, frozen=True, kw_only=True):
    """A file or directory that the user named.

    Args:
        path: relative to the root.
        test: a test inside the file, as `Class::test`; empty: the whole file.
    """

    text: str
    path: str
    is_directory: bool
    test: str = ""

    def error(self, what: str) -> ConfigurationError:
        """Return the error that says what is wrong with it."""
        return _error(self.text, what)


def select(
    paths: Iterable[str], *, resolved: ResolvedLayout, walker: Walker, cwd: str
) -> dict[str, tuple[str, ...]]:
    """Add the files that `paths` name to `walker`; return the tests that were named, by their file's path.

    A named file is taken under any name and anywhere in the root. Of a named directory, all files with a test
    file's name are taken, including integration tests.

    Args:
        paths: as the user wrote them: relative to `cwd`, else to the working directory, else to the root.

    Raises:
        ConfigurationError: a path does not exist, lies outside the root, or contains no tests.
    """
    found = [find_named(text, resolved=resolved, walker=walker, cwd=cwd) for text in paths]
    for named in found:
        if named.is_directory:
            _take_directory(named, resolved, walker)
        elif not named.path.endswith(".py"):
            raise named.error("is not a Python file: expected a name that ends in .py")
        else:
            walker.take(named.path)
    return tests_of(found)


def tests_of(named: Iterable[Named]) -> dict[str, tuple[str, ...]]:
    """Return the tests that the user named, by their file's path; none of a file that is also named."""
    named = tuple(named)
    whole = {one.path for one in named if not one.test}
    tests: dict[str, dict[str, None]] = {}
    for one in named:
        if one.test and not any(is_below(one.path, path) for path in whole):
            tests.setdefault(one.path, {})[one.test] = None
    return {path: tuple(found) for path, found in tests.items()}


def find_named(text: str, *, resolved: ResolvedLayout, walker: Walker, cwd: str) -> Named:
    """Return the file or directory inside the root that a path of the user means; see `select`.

    Raises:
        ConfigurationError: it does not exist, lies outside the root, or is neither.
    """
    bases = (cwd, walker.absolute(resolved.workdir), resolved.root)
    file, test, line = _split_test(text, bases)
    absolute, status = _find(file, bases, walker)
    is_directory = stat.S_ISDIR(status.st_mode)
    if not is_directory and not stat.S_ISREG(status.st_mode):
        raise _error(text, "is not a regular file: name a test file or a directory")
    if is_directory and (test or line):
        raise _error(text, "names a test in a directory: name its file")
    if line:
        try:
            test = test_at(Path(absolute), line)
        except ValueError as error:
            raise _error(text, str(error)) from error
    path = walker.relative(absolute)
    assert path is not None  # `_find` returns nothing from outside
    return Named(text=text, path=path, is_directory=is_directory, test=test)


MAX_OTHERS = 3
"""Files of the same name that an error suggests."""

_LINE = re.compile(r"(.+\.py):([0-9]{1,7})")


def _split_test(text: str, bases: tuple[str, ...]) -> tuple[str, str, int]:
    """Return the file of a path, the test in it or "", and the line or 0."""
    file, separator, test = text.partition(SEPARATOR)
    if separator:
        if not test or not file:
            raise _error(text, "names no test: expected FILE::TEST or FILE::CLASS::TEST")
        return file, test, 0
    found = _LINE.fullmatch(text)
    if found is not None and not any(os.path.lexists(path) for path in _candidates(text, bases)):
        return found[1], "", int(found[2])
    return text, "", 0


def named_files(paths: Iterable[str], *, bases: tuple[str, ...]) -> frozenset[str]:
    """Return the files among the paths that the user named, absolute, links resolved."""
    files = (_split_test(text, bases)[0] for text in paths)
    candidates = (candidate for file in files for candidate in _candidates(file, bases))
    return frozenset(os.path.realpath(path) for path in candidates if Path(path).is_file())


def _take_directory(named: Named, resolved: ResolvedLayout, walker: Walker) -> None:
    # A separate walker shows whether this directory itself contains tests.
    inner = Walker(root=resolved.root)
    inner.walk(named.path, resolved.ordinary_rules(skips_integration=False))
    walker.warnings.extend(inner.warnings)
    if not inner.files and inner.warnings:
        raise named.error(f"holds no test files that can be read: {inner.warnings[0]}")
    if not inner.files:
        names = " or ".join(resolved.patterns or ORDINARY_PATTERNS)
        raise named.error(f"holds no test files: expected some called {names}")
    walker.files.update(inner.files)


def _find(text: str, bases: tuple[str, ...], walker: Walker) -> tuple[str, os.stat_result]:
    """Return the first file or directory inside the root that `text` may mean, absolute."""
    outside = ""
    for candidate in _candidates(text, bases):
        try:
            status = Path(candidate).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise _error(text, f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
        if walker.inside(os.path.realpath(candidate)) is not None:
            return candidate, status
        outside = outside or candidate
    if outside:
        raise _error(
            text,
            f"lies outside of the root {on_one_line(walker.root)}: name a path inside, or another --root",
        )
    raise _error(text, _missing(text, bases))


def _candidates(text: str, bases: Iterable[str]) -> Iterator[str]:
    for base in dict.fromkeys(bases):
        path = f"{base}/{text}" if not text.startswith("/") else text
        # After a link `..` means its target's parent: only the file system knows that.
        yield os.path.realpath(path) if ".." in text.split("/") else os.path.normpath(path)


def _missing(text: str, bases: tuple[str, ...]) -> str:
    # Only needed after an error.
    from difflib import get_close_matches

    from dispatcher.config.choices import SUBCOMMAND_HELP
    from passmuster.settings.spelling import nearest

    if text in SUBCOMMAND_HELP:
        return f"does not exist: the subcommand {text} must be the first word, before options and paths"
    if any(Path(candidate).is_symlink() for candidate in _candidates(text, bases)):
        return "is a broken link"
    directory, name = os.path.split(text.rstrip("/"))
    for base in dict.fromkeys(bases):
        try:
            names = [path.name for path in Path(base, directory).iterdir()]
        except OSError:
            continue
        matches = get_close_matches(name, names, n=1)
        if matches:
            return f"does not exist: did you mean {on_one_line(str(Path(directory, matches[0])))}?"
    subcommand = nearest(text, SUBCOMMAND_HELP)
    if subcommand:
        return f"does not exist: did you mean the subcommand {subcommand}? It must be the first word"
    if others := list(islice(_with_name(name, bases[-1]), MAX_OTHERS)):
        return f"does not exist: did you mean {' or '.join(map(on_one_line, others))}?"
    advice = f"; -k {text} selects tests by name" if text.isidentifier() else ""
    return f"does not exist in {on_one_line(bases[0])} or the root {on_one_line(bases[-1])}{advice}"


def _with_name(name: str, root: str) -> Iterator[str]:
    """Yield the files with a name below a folder, relative to it."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            one for one in folders if not one.startswith(".") and one not in ORDINARY_EXCLUDED_NAMES
        )
        if name in files:
            yield os.path.relpath(f"{folder}/{name}", root)


def _error(text: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{text!r} (from the arguments) {what}")

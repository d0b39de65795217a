"""Which tests of a file run, and with which arguments of the project's pytest."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

SEPARATOR = "::"
"""Between a file and a test in it, and between a class and its method."""

QUARANTINED = "quarantined"
"""What the message of a quarantined test that failed begins with; `passmuster_child_select` has it too."""

_LOCAL_ONLY_OPTIONS = (
    *("--config-file", "--override-ini", "--rootdir", "--confcutdir", "--basetemp"),
    *("--pyargs", "--import-mode"),
)
_LOCAL_ONLY_LETTERS = "pco"
"""Options of pytest that name code or places, or settings that do. They are not sent to workers, which run
planned files alone."""

_LETTERS_WITH_VALUE = "kmnrW"

_IDENTIFIER = re.compile(r"[\w:+\-.\[\]\\/]+")
_QUOTED = re.compile(r"'[^'\\]*'|\"[^\"\\]*\"")
_WORDS_OF_EXPRESSIONS = ("and", "or", "not")


class FilePart(Struct, frozen=True, kw_only=True):
    """One of the parts in which a file runs: a stretch of its tests, in the order in which they run."""

    number: int  # from 1
    total: int
    first: str = ""  # the name of its first test; empty: the file's first
    until: str = ""  # the name of the next part's first test; empty: it reaches to the file's end
    skipped: int | None = None  # how many tests of the whole file were skipped last; None: unknown
    share: float = 1.0  # of the file's time that it is predicted to take, with its own start

    @property
    def name(self) -> str:
        """A short name; parts that are cut elsewhere have other names."""
        from hashlib import blake2b  # Few files run in parts.

        tests = f"{self.first}\0{self.until}".encode("utf-8", "surrogateescape")
        return f"part-{self.number}-of-{self.total}-{blake2b(tests, digest_size=4).hexdigest()}"


class TestSelection(Struct, frozen=True, kw_only=True):
    """The tests of one file that run; without any value, all of them."""

    __test__ = False

    tests: tuple[str, ...] = ()
    """`Class::test` or `test[parameters]`; a class or a function stands for all tests in it."""
    failed: tuple[str, ...] = ()
    """Tests that failed last, in the same form; those that the file does not have any more are left out, and
    if it has none of them, all its tests run."""
    deselected: tuple[str, ...] = ()  # in the same form
    keyword: str = ""  # an expression over names (`pytest -k`), or a pattern (`unittest -k`)
    marker: str = ""  # an expression over markers (`pytest -m`)
    arguments: tuple[str, ...] = ()  # of the project's pytest, in addition
    quarantined: tuple[str, ...] = ()
    """Tests whose failure does not fail the file, in the form of `tests`."""
    seed: str = ""  # of a random order; empty: the file's own order
    part: FilePart | None = None  # which of the tests that are left this process runs; None: all

    @property
    def is_whole_file(self) -> bool:
        """Whether every test of the file is selected, as far as its own settings select it.

        The parts of a file are made by the plan, and select nothing: together they are the file.
        """
        return not (self.tests or self.failed or self.deselected or self.keyword or self.marker)

    def as_words(self) -> list[str]:
        """Return it as `passmuster_child_main` reads it: one word `NAME=VALUE` for each value."""
        return [
            *(f"test={test}" for test in self.tests),
            *(f"failed={test}" for test in self.failed),
            *(f"deselect={test}" for test in self.deselected),
            *([f"keyword={self.keyword}"] if self.keyword else ()),
            *([f"marker={self.marker}"] if self.marker else ()),
            *(f"argument={word}" for word in self.arguments),
            *(f"quarantine={test}" for test in self.quarantined),
            *([f"seed={self.seed}"] if self.seed else ()),
            *([] if self.part is None else [f"first={self.part.first}", f"until={self.part.until}"]),
        ]

    @property
    def shown(self) -> str:
        """It as people write it: `-k expression -m marker`, without the tests that were named one by one."""
        parts = (
            ("-k", self.keyword),
            ("-m", self.marker),
            *(("--deselect", test) for test in self.deselected),
        )
        return " ".join(f"{option} {value!r}" for option, value in parts if value)


WHOLE_FILE = TestSelection()


def is_expression(text: str) -> bool:
    """Whether pytest accepts the form of an expression of `-k` or `-m`."""
    names = _QUOTED.sub("x", text)
    if _IDENTIFIER.sub("", names).strip(" \t\n()=,"):
        return False
    python = _IDENTIFIER.sub(lambda word: word[0] if word[0] in _WORDS_OF_EXPRESSIONS else "x", names)
    try:
        compile(python.strip(), "<expression>", "eval")
    except (SyntaxError, ValueError):
        return False
    return True


def local_only_argument(words: Iterable[str]) -> str | None:
    """Return the first argument of pytest that must not be sent to a worker, or None if all may be."""
    return next((word for word in words if _is_local_only(word)), None)


def _is_local_only(word: str) -> bool:
    if word.startswith("@"):
        return True  # A file with further arguments.
    if word.startswith("--"):
        return word.partition("=")[0] in _LOCAL_ONLY_OPTIONS
    for letter in word[1:] if word.startswith("-") else "":
        if letter in _LOCAL_ONLY_LETTERS:
            return True
        if letter in _LETTERS_WITH_VALUE:
            return False  # The rest of the word is its value.
    return False

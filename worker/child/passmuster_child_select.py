"""Which tests of the file run, as the dispatcher selected them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Optional, Sequence

    from passmuster_child_report import ReportWriter

_NEAREST = 3

QUARANTINED = "quarantined"
"""What the message of a quarantined test that failed begins with."""


class Selection:
    """The tests of one file that run; without any word, all of them.

    Args:
        words: words `NAME=VALUE`: `test`, `failed`, `deselect`, and `quarantine` with a test inside the
            file (`Class::test`), `keyword`, `marker`, `argument` with a further argument of pytest,
            `seed` of a random order, and of one of several parts of the file its `first` test and the one
            before which it ends (`until`); empty: that of the file.
    """

    def __init__(self, words: "Sequence[str]" = ()) -> None:
        values: "dict[str, list[str]]" = {}
        for word in words:
            name, _, value = word.partition("=")
            values.setdefault(name, []).append(value)
        self.tests = values.get("test", [])
        self.failed = values.get("failed", [])
        self.deselected = values.get("deselect", [])
        self.keyword = "".join(values.get("keyword", []))
        self.marker = "".join(values.get("marker", []))
        self.arguments = values.get("argument", [])
        self.quarantined = values.get("quarantine", [])
        self.seed = "".join(values.get("seed", []))
        self.is_part = "first" in values
        self.first = "".join(values.get("first", []))
        self.until = "".join(values.get("until", []))
        self.is_empty = not words
        self.is_whole_file = not (self.tests or self.failed or self.deselected or self.keyword or self.marker)

    def divide(
        self, items: "Sequence[Any]", name_of: "Callable[[Any], str]"
    ) -> "tuple[list[Any], list[Any]]":
        """Return the collected tests that are named, and those of them that are deselected.

        Args:
            items: the collected tests.
            name_of: returns the name of a test inside its file.

        Raises:
            UnknownTestError: a named test was not collected.
        """
        names = [name_of(item) for item in items]
        for wanted in self.tests:
            if not any(_covers(wanted, name) for name in names):
                raise UnknownTestError(_unknown(wanted, names))
        failed = [test for test in self.failed if any(_covers(test, name) for name in names)]
        wanted_sets = [wanted for wanted in (self.tests, failed) if wanted]
        kept: "list[Any]" = []
        deselected: "list[Any]" = []
        for item, name in zip(items, names):  # noqa: B905 - not in Python 3.9.
            if not all(any(_covers(test, name) for test in wanted) for wanted in wanted_sets):
                continue
            is_left_out = any(_covers(wanted, name) for wanted in self.deselected)
            (deselected if is_left_out else kept).append(item)
        return kept, deselected

    def shuffle(
        self, items: "list[Any]", name_of: "Callable[[Any], str]", group_of: "Callable[[Any], object]"
    ) -> "list[Any]":
        """Return the tests in the random order of the seed; without a seed, as they are.

        Tests of one group, such as a class, stay together: their fixtures are set up once.
        """
        if not self.seed:
            return items
        from hashlib import blake2b

        def rank(text: str) -> bytes:
            return blake2b((self.seed + "\0" + text).encode("utf-8", "backslashreplace")).digest()

        groups: "dict[object, list[Any]]" = {}
        for item in items:
            groups.setdefault(group_of(item), []).append(item)
        shuffled = [sorted(group, key=lambda item: rank(name_of(item))) for group in groups.values()]
        return [
            item for group in sorted(shuffled, key=lambda group: rank(name_of(group[0]))) for item in group
        ]

    def is_quarantined(self, name: str) -> bool:
        """Whether the failure of a test does not count."""
        return any(_covers(wanted, name) for wanted in self.quarantined)

    def unknown_quarantined(self, names: "Sequence[str]") -> "list[str]":
        """Return the quarantined tests that are none of the file's."""
        return [test for test in self.quarantined if not any(_covers(test, name) for name in names)]

    def cut(self, items: "list[Any]", names: "list[str]", reporter: "ReportWriter") -> "list[Any]":
        """Return the tests of this part of the file, and report where it is; none if it cannot be found.

        Args:
            items: all tests of the file, in the order in which they would run.
            names: their names inside the file.
        """
        from hashlib import blake2b

        if len(set(names)) != len(names):
            reporter.text("uncut", "several of its tests have the same name")
            return []
        # Arguments of one run may have chosen or ordered the tests: that says nothing about other runs.
        elsewhere = "start" if self.arguments else "uncut"
        for name in (self.first, self.until):
            if name and name not in names:
                reporter.text(elsewhere, "it was to be cut at %s, which it does not have any more" % name)
                return []
        start = names.index(self.first) if self.first else 0
        stop = names.index(self.until) if self.until else len(names)
        if stop <= start:  # No part is planned without tests.
            reporter.text(elsewhere, "its tests run in another order than before")
            return []
        digest = blake2b(digest_size=16)
        for name, item in zip(names, items):  # noqa: B905 - not in Python 3.9.
            digest.update(("%s\0%s\0" % (name, _parameters(item))).encode("utf-8", "backslashreplace"))
        reporter.part(digest.hexdigest(), len(names), start, stop)
        return items[start:stop]


_MAX_VALUES = 100
"""How many values of one test are compared between the parts of a file."""


def _parameters(item: "Any") -> str:
    """Return the parameters of a test of pytest or unittest, as a text that is the same in every process.

    Names alone do not tell tests apart that were made from a set: `test[value0]` is another one in each
    process. A test that a function made has its parameters in its closure or its defaults.
    """
    left = [_MAX_VALUES]
    method = getattr(item, "obj", None) or getattr(item, getattr(item, "_testMethodName", ""), None)
    function = getattr(method, "__func__", method)
    values = [getattr(getattr(item, "callspec", None), "params", None)]
    if isinstance(function, type(_parameters)):
        values.append(function.__defaults__)
        for cell in function.__closure__ or ():
            try:
                values.append(cell.cell_contents)
            except ValueError:  # The cell is empty.
                continue
    return ",".join(_as_text(value, left) for value in values)


def _as_text(value: "Any", left: "list[int]") -> str:
    """Return data as a text without addresses; of an object that is no data, its type.

    Args:
        left: how many further values are shown, counted down; it bounds cycles too.
    """
    left[0] -= 1
    kind = type(value)
    if left[0] < 0:
        return ""
    if kind is int:
        return "%x" % value  # Decimal digits are limited.
    if value is None or kind in (str, bytes, float, complex, bool):
        return repr(value)
    if isinstance(value, (type, type(_as_text))):
        return "%s.%s" % (value.__module__, value.__qualname__)
    if kind in (set, frozenset):
        texts = sorted(_as_text(one, left) for one in value) if len(value) <= left[0] else [str(len(value))]
    elif kind is dict:
        texts = [_as_text(one, left) for pair in value.items() for one in pair]
    elif kind is list or isinstance(value, tuple):
        texts = [_as_text(one, left) for one in value]
    elif isinstance(getattr(kind, "__dataclass_fields__", None), dict):
        texts = [_as_text(getattr(value, name, None), left) for name in kind.__dataclass_fields__]
    else:
        texts = [str(getattr(value, "_name_", ""))]  # The name of the member of an enumeration.
    return "%s(%s)" % (kind.__qualname__, ",".join(texts))


class UnknownTestError(Exception):
    """A named test is not in the file; the message names those that are like it."""


def _covers(wanted: str, name: str) -> bool:
    """Whether a test belongs to what was named: itself, its class, or its function without parameters."""
    return name == wanted or (name.startswith(wanted) and name[len(wanted) :].startswith(("::", "[")))


def _unknown(wanted: str, names: "Iterable[str]") -> str:
    last = wanted.rpartition("::")[2]

    def likeness(name: str) -> int:
        own = name.rpartition("::")[2]
        return next(
            (n for n in range(min(len(own), len(last))) if own[n] != last[n]), min(len(own), len(last))
        )

    known = dict.fromkeys(name.partition("[")[0] for name in names)
    nearest = sorted(known, key=likeness, reverse=True)[:_NEAREST]
    what = "the nearest are %s" % ", ".join(nearest) if nearest else "it holds no tests"
    return "no test called %s in the file; %s" % (wanted, what)


def unittest_filter(
    selection: Selection, module: str, on_stale: "Callable[[str], None]"
) -> "Callable[[list[Any]], tuple[list[Any], int]]":
    """Return what selects from the cases of a unittest file: it returns those that run, and how many do not.

    Args:
        selection: `keyword` is a pattern as that of `python -m unittest -k`.
        module: the dotted name of the file.
        on_stale: called with each quarantined test that the file does not have.
    """
    from fnmatch import fnmatchcase

    pattern = selection.keyword
    if pattern and "*" not in pattern:
        pattern = "*%s*" % pattern
    named = Selection()
    for field in ("tests", "failed", "deselected", "quarantined"):
        setattr(named, field, [test.replace(".", "::") for test in getattr(selection, field)])
    named.seed = selection.seed

    def name_of(case: "Any") -> str:
        name: str = case.id()
        return name[len(module) + 1 :].replace(".", "::") if name.startswith(module + ".") else name

    def matches(case: "Any") -> bool:
        return not pattern or fnmatchcase(case.id(), pattern)

    def choose(cases: "list[Any]") -> "tuple[list[Any], int]":
        failed = [case for case in cases if type(case).__name__ == "_FailedTest"]
        if failed:
            return failed, 0  # The file cannot be loaded, whatever was selected.
        for test in named.unknown_quarantined([name_of(case) for case in cases]):
            on_stale(test)
        kept, deselected = named.divide(cases, name_of)
        chosen = [case for case in kept if matches(case)]
        left_out = len(deselected) + len(kept) - len(chosen)
        return named.shuffle(chosen, name_of, type), left_out

    return choose


def problem(selection: Selection, kind: str) -> "Optional[str]":
    """Return why a framework cannot select these tests; None: it can."""
    if selection.is_part and kind not in ("pytest", "unittest"):
        return "a file that runs as a %s cannot run in parts" % kind
    if kind != "pytest" and selection.marker:
        return "-m needs pytest, and %s runs this file" % kind
    return None

"""Counts the tests that a script defines, and how many of them ran.

Loaded before a script whose source contains `def test`, and evaluated after its end. Definitions are read
from the script's own namespace, where classes have their real bases. The source is parsed only if some tests
were not reported: a script may call tests itself, and tests that it may have called are not counted as
missing.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Collection, Iterator

    _Definition = tuple[int, str]
    """The id of the class, 0 for a function, and the name."""

_FUNCTION = type(lambda: None)

_LOOKS_UP_NAMES = frozenset({"globals", "locals", "vars", "dir", "getmembers", "modules", "runmodule"})
"""Names in a script that may find its test functions without naming them."""

_RUNNERS = frozenset({"pytest", "py.test", "nose", "nose2", "nosetests"})
"""Words in a script's texts with which it may run itself in another process."""

_IS_ABSTRACT = 1 << 20
"""`Py_TPFLAGS_IS_ABSTRACT`: a class that has abstract methods."""


def count(
    namespace: "dict[str, object]",
    source: bytes,
    ran: "Collection[_Definition]",
    skipped: "Collection[str]",
) -> "tuple[int, int]":
    """Return how many tests a script defines, and how many of them ran.

    Args:
        namespace: the script's globals, at its end.
        ran: the tests that unittest ran, by the ID of each class that the test belongs to.
        skipped: classes and modules whose set-up skipped all their tests, as unittest names them.
    """
    if "setUpModule (__main__)" in skipped:
        return 0, 0
    classes: "list[Any]" = [value for value in list(namespace.values()) if _is_own_class(value)]
    defined = set(_methods(classes, skipped, has_loader="load_tests" in namespace))
    loose = set(_loose(namespace, classes))
    done = defined.intersection(ran)
    missing = (defined | loose) - done
    if not missing and (defined or loose or ran):
        return len(defined), len(done)
    script = _Script(source)
    if not (defined or loose or ran):
        # It may have left before it had defined them.
        missing = {key for name, key in script.definitions if name not in namespace}
        loose = missing.copy()
    missing -= {key for key in missing if script.may_run(key[1], is_loose=key in loose)}
    used = {id(kind) for kind in classes if kind.__name__ in script.used}
    missing -= {key for key in missing if key in loose and key[0] in used}
    return len(done) + len(missing), len(done)


def _is_own_class(value: object) -> bool:
    return issubclass(type(value), type) and vars(value).get("__module__") == "__main__"


def _methods(
    classes: "list[Any]", skipped: "Collection[str]", *, has_loader: bool
) -> "Iterator[_Definition]":
    """Yield the test methods of TestCase classes, whatever these are called."""
    module = sys.modules.get("unittest.case")
    if module is None or has_loader:
        return
    for kind in classes:
        name = "setUpClass (%s.%s)" % (kind.__module__, kind.__qualname__)
        if module.TestCase in kind.__mro__ and not _is_left_out(kind) and name not in skipped:
            for method in vars(kind):
                if method.startswith("test") and callable(_attribute(kind, method)):
                    yield id(kind), method


def _loose(namespace: "dict[str, object]", classes: "list[Any]") -> "Iterator[_Definition]":
    """Yield test functions, and the methods of plain test classes, which unittest does not know."""
    for name, value in list(namespace.items()):
        if type(value) is _FUNCTION and name.startswith("test_") and value.__name__ == name:
            is_fixture = hasattr(value, "_pytestfixturefunction")
            # Its examples are the test, and no test framework reports them under its name.
            is_doctest = "doctest" in namespace and ">>>" in str(value.__doc__)
            is_own = value.__module__ == "__main__" and getattr(value, "__test__", True)
            if is_own and not (is_fixture or is_doctest):
                yield 0, name
    for kind in classes:
        is_test = kind.__name__.startswith("Test") and kind.__init__ is object.__init__
        is_base = any(other is not kind and kind in other.__mro__ for other in classes)
        if is_test and not is_base and not _is_left_out(kind) and not _attribute(kind, "assertEqual"):
            for method, value in vars(kind).items():
                if method.startswith("test_") and type(value) is _FUNCTION:
                    yield id(kind), method


def _is_left_out(kind: "Any") -> bool:
    return bool(kind.__flags__ & _IS_ABSTRACT) or _attribute(kind, "__test__") is False


def _attribute(kind: "Any", name: str) -> object:
    """Return an attribute of a class; None: it has none, or its metaclass or a descriptor raises."""
    try:
        return getattr(kind, name, None)
    except Exception:
        return None


class _Script:
    """What a script's text says of the tests in it.

    Attributes:
        definitions: the tests that it defines at its top level, each with the global name that it is part of.
        used: names, attributes, and texts in it outside of these tests.
    """

    def __init__(self, source: bytes) -> None:
        only_ast = 0x400  # ast.PyCF_ONLY_AST, without the cost of importing ast.
        tree: "Any" = compile(source, "<tests>", "exec", flags=only_ast, dont_inherit=True)
        self.definitions: "list[tuple[str, _Definition]]" = []
        self.used: "set[str]" = set()
        self._functions = {node.name for node in tree.body if _is_function(node)}
        for node in tree.body:
            if _is_function(node) and node.name.startswith("test_"):
                self.definitions.append((node.name, (0, node.name)))
                if any(self._is_ours(decorator) for decorator in node.decorator_list):
                    self.used.add(node.name)
            elif type(node).__name__ == "ClassDef" and self._add_class(node):
                continue
            else:
                self._add_used(node)

    def may_run(self, name: str, *, is_loose: bool) -> bool:
        """Whether the script may run a test by itself; `is_loose`: one that unittest does not know."""
        return name in self.used or (is_loose and not self.used.isdisjoint(_LOOKS_UP_NAMES | _RUNNERS))

    def _add_class(self, node: "Any") -> bool:
        """Add the tests of a class; False where it has none."""
        tests = [part.name for part in node.body if _is_function(part) and part.name.startswith("test")]
        bases = [getattr(base, "attr", None) or getattr(base, "id", None) or "" for base in node.bases]
        if tests and (node.name.startswith("Test") or any("TestCase" in base for base in bases)):
            self.definitions += [(node.name, (node.lineno, name)) for name in tests]
        return bool(tests)

    def _is_ours(self, decorator: "Any") -> bool:
        """Whether a decorator is the script's own: it may collect the tests to run."""
        return getattr(getattr(decorator, "func", decorator), "id", None) in self._functions

    def _add_used(self, node: "Any") -> None:
        left = [node]
        while left:
            node = left.pop()
            kind = type(node).__name__
            if kind == "Name":
                self.used.add(node.id)
            elif kind == "Attribute":
                self.used.add(node.attr)
            elif kind == "Constant" and type(node.value) is str:
                self.used.update(node.value.split())
            if kind == "Expr" and type(node.value).__name__ == "Constant":
                continue  # A documentation string.
            for field in getattr(node, "_fields", ()):
                value = getattr(node, field, None)
                left += value if type(value) is list else [value]


def _is_function(node: "Any") -> bool:
    return "FunctionDef" in type(node).__name__

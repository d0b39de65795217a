"""Analyzes the source of a Python file: its imports in order, and the reasons not to fork it."""

from __future__ import annotations

import _ast
import re
import warnings
from collections.abc import Iterable, Sequence

from msgspec import Struct

from worker.forkserver.file_imports import EFFECT, ENVIRONMENT

_ONLY_AST = 0x400  # `ast.PyCF_ONLY_AST`: importing `ast` would cost more than reading a file.

_WRITES = {"setdefault", "update", "pop", "popitem", "clear", "__setitem__", "__delitem__"}
_SETTERS = {"putenv", "unsetenv", "setenv", "delenv", "load_dotenv"}
_BRANCHES = (_ast.If, _ast.For, _ast.While, _ast.With, _ast.AsyncFor, _ast.AsyncWith)
_HARMLESS_CALLS = {"importorskip", "skip", "filterwarnings", "simplefilter"}
"""pytest's end the module, if anything; a module that warns is not preloaded, whatever the filters."""

_PARTS = (_ast.Attribute, _ast.Subscript)
_LONGEST_HINT = 100

_HEADERS = (b"def ", b"class ", b"async def ", b"@")
_WITH_EFFECT = (b"class ", b"@")
_DEEPER = (b"", b" ", b"\t", b"\r", b"\f", b"#", b")", b"]", b"}")
"""Starts of lines that cannot end a function or a class."""

HOSTILE = (
    ("gevent", "gevent replaces parts of modules that would have been imported already"),
    ("eventlet", "eventlet replaces parts of modules that would have been imported already"),
    ("locust", "locust has gevent replace parts of modules that would have been imported already"),
    ("ddtrace", "ddtrace starts threads and keeps descriptors that do not survive a fork"),
    ("twisted.internet.reactor", "the reactor of twisted keeps descriptors that forked processes share"),
    ("mpi4py", "MPI belongs to the process that started it"),
    ("pycuda.autoinit", "CUDA belongs to the process that started it"),
)
"""Modules that must not be used in a forked process, each with the reason."""

_HOSTILE_LINE = re.compile(
    rb"^[ \t]*(?:import|from)[ \t]+(%s)\b"
    % b"|".join(re.escape(name).encode() for name, _ in HOSTILE if name != "twisted.internet.reactor"),
    re.MULTILINE,
)
EARLY_HOOKS = ("pytest_configure", "pytest_sessionstart", "pytest_collection")
"""Hooks of a conftest by which it acts after it was imported, and before pytest imports a test file."""

UNNAMED_HOOKS = "hooks of another module"
"""Among the hooks of a conftest that takes all names of a module, executes other code, or loads plugins."""

_EARLY_HOOK = re.compile(rb"\b(?:%s)\b" % "|".join(EARLY_HOOKS).encode())
_OTHER_CODE = re.compile(rb"\bimport[ \t]*\*|\bexec[ \t]*\(|\bpytest_plugins\b")
_IMPORT_SYSTEM = (b"sys.modules", b"sys.meta_path", b"sys.path_hooks")


class SourceAnalysis(Struct, frozen=True, kw_only=True):
    """The result of analyzing one file.

    Attributes:
        imports: in order, what importing it certainly imports: `a.b`, `a:b` for `from a import
            b`, with leading dots where they are relative; `ENVIRONMENT` and a line where it sets a variable;
            `EFFECT` before what it imports after a statement that may change other modules.
        why_spawn: why a test file with this source must not be forked; empty: it may be.
        folders: strings that may name directories which it adds to `sys.path`.
        is_script: whether it has `if __name__ == "__main__":`.
        is_readable: False if this Python cannot parse it.
        hooks: those of `EARLY_HOOKS` that it names, and `UNNAMED_HOOKS`.
    """

    imports: tuple[str, ...] = ()
    why_spawn: str = ""
    folders: tuple[str, ...] = ()
    is_script: bool = False
    is_readable: bool = True
    hooks: tuple[str, ...] = ()


def read(text: bytes) -> SourceAnalysis:
    """Analyze the source of a file; if it cannot be parsed, the result is empty."""
    outline = outline_of(text)
    tree = _parse(outline) if outline is not None else None
    if tree is None:
        tree = _parse(text)
    if tree is None:
        return SourceAnalysis(is_readable=False)
    reader = _Reader(gathers_folders=b"sys.path" in text)
    reader.visit(tree.body)
    return SourceAnalysis(
        imports=tuple(reader.imports),
        why_spawn=_why_text(text) or reader.why or why_imports(reader.imports),
        folders=tuple(dict.fromkeys(reader.folders)),
        is_script=reader.is_script,
        hooks=_hooks(text),
    )


def _hooks(text: bytes) -> tuple[str, ...]:
    named = sorted({name.decode() for name in _EARLY_HOOK.findall(text)})
    return (*named, *([UNNAMED_HOOKS] if _OTHER_CODE.search(text) else []))


def _parse(text: bytes) -> _ast.Module | None:
    try:
        with warnings.catch_warnings():
            # The file's own run issues the interpreter's warnings, for example about invalid escapes.
            warnings.simplefilter("ignore")
            tree: _ast.Module = compile(text, "<scan>", "exec", flags=_ONLY_AST, dont_inherit=True)
            return tree
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def outline_of(text: bytes) -> bytes | None:
    """Return a source without the lines of its functions and classes, which take long to parse.

    In their place are empty lines, and `...` where a class or a decorated function begins.

    None if multi-line strings make it unclear which lines are statements.
    """
    kept: list[bytes] = []
    is_inside = is_quoted = False
    last = b""
    for line in text.split(b"\n"):
        if is_inside and line[:1] not in _DEEPER:
            if is_quoted or last.endswith(b"\\"):
                return None
            is_inside = False
        if not is_inside:
            is_inside = line.startswith(_HEADERS)
        placeholder = b"..." if line.startswith(_WITH_EFFECT) else b""
        kept.append(placeholder if is_inside else line)
        if is_inside and (b'"""' in line or b"'''" in line):
            is_quoted ^= (line.count(b'"""') + line.count(b"'''")) % 2 == 1
        last = line
    return b"\n".join(kept)


def why_imports(names: Iterable[str]) -> str:
    """Return why a file that imports these modules must not be forked; empty: it may be."""
    for name in names:
        dotted = name.replace(":", ".")
        for module, reason in HOSTILE:
            if dotted == module or dotted.startswith(module + "."):
                return reason
    return ""


def _why_text(text: bytes) -> str:
    for name in _IMPORT_SYSTEM:
        if name in text:
            return f"it names {name.decode()}"
    match = _HOSTILE_LINE.search(text)
    return why_imports([match[1].decode()]) if match else ""


class _Reader:
    """Visits the statements that run when a file is imported, in order."""

    def __init__(self, *, gathers_folders: bool) -> None:
        self.imports: list[str] = []
        self.why = ""
        self.folders: list[str] = []
        self.is_script = False
        self._gathers_folders = gathers_folders
        self._has_set = False
        self._has_effect = False

    def visit(self, body: Sequence[_ast.stmt], *, is_sure: bool = True) -> None:
        """Visit statements; `is_sure` is False if they may not run."""
        for node in body:
            if isinstance(node, _ast.Import):
                self._add([alias.name for alias in node.names], is_sure=is_sure)
            elif isinstance(node, _ast.ImportFrom):
                self._add(_names_from(node), is_sure=is_sure)
            elif isinstance(node, _ast.Try | _ast.TryStar):
                self._try(node, is_sure=is_sure)
            elif isinstance(node, _BRANCHES):
                self._branch(node)
            elif isinstance(node, _ast.Match):
                for case in node.cases:
                    self.visit(case.body, is_sure=False)
            elif isinstance(node, _ast.Assign | _ast.AugAssign | _ast.AnnAssign | _ast.Delete):
                self._assignment(node, is_sure=is_sure)
            elif isinstance(node, _ast.Expr):
                self._value(node.value, is_sure=is_sure)
            if _may_change_others(node):
                self._has_effect = True

    def _add(self, names: list[str], *, is_sure: bool) -> None:
        if names and self._has_set and not self.why:
            self.why = "it sets the environment before its imports"
        if "sys:modules" in names:
            self.why = "it names sys.modules"
        if self._has_effect and EFFECT not in self.imports:
            self.imports.append(EFFECT)
        if is_sure:
            self.imports += names

    def _try(self, node: _ast.Try | _ast.TryStar, *, is_sure: bool) -> None:
        self.visit(node.body, is_sure=is_sure)
        for handler in node.handlers:
            self.visit(handler.body, is_sure=False)
        self.visit(node.orelse, is_sure=False)
        self.visit(node.finalbody, is_sure=False)

    def _branch(self, node: _ast.stmt) -> None:
        if isinstance(node, _ast.If):
            if _is_guard(node.test):
                self.is_script = True
                return
        elif isinstance(node, _ast.With | _ast.AsyncWith):
            for item in node.items:
                call = item.context_expr
                if isinstance(call, _ast.Call) and any(_is_environ(argument) for argument in call.args):
                    self._set(None, node.lineno)
        self.visit(getattr(node, "body", ()), is_sure=False)
        self.visit(getattr(node, "orelse", ()), is_sure=False)

    def _assignment(
        self, node: _ast.Assign | _ast.AugAssign | _ast.AnnAssign | _ast.Delete, *, is_sure: bool
    ) -> None:
        targets = node.targets if isinstance(node, _ast.Assign | _ast.Delete) else [node.target]
        for target in targets:
            if isinstance(target, _ast.Subscript) and _is_environ(target.value):
                self._set(target.slice, node.lineno)
            elif _is_environ(target) and isinstance(target, _ast.Attribute):
                self._set(None, node.lineno)
        value = None if isinstance(node, _ast.Delete) else node.value
        if value is not None:
            self._value(value, is_sure=is_sure)

    def _value(self, node: _ast.expr, *, is_sure: bool) -> None:
        if self._gathers_folders:
            self.folders += _strings(node)
        if not isinstance(node, _ast.Call):
            return
        called = node.func
        name = getattr(called, "attr", None) or getattr(called, "id", "")
        owner = called.value if isinstance(called, _ast.Attribute) else None
        first = node.args[0] if node.args else None
        if name in _SETTERS or (name in _WRITES and owner is not None and _is_environ(owner)):
            self._set(first, node.lineno)
        elif name == "register_assert_rewrite":  # It has no effect on modules that are already imported.
            self.imports.append(f"{ENVIRONMENT}{node.lineno}")
        elif name == "importorskip" and isinstance(first, _ast.Constant) and isinstance(first.value, str):
            self._add([first.value], is_sure=is_sure)
        elif name in ("settrace", "setprofile") and isinstance(owner, _ast.Name):
            self.why = self.why or f"it calls {owner.id}.{name}"

    def _set(self, key: _ast.expr | None, line: int) -> None:
        self._has_set = True
        self.imports.append(f"{ENVIRONMENT}{line}")
        name = key.value if isinstance(key, _ast.Constant) else None
        if isinstance(name, str) and name.startswith("PYTHON"):
            self.why = self.why or f"it sets {name}"


def _names_from(node: _ast.ImportFrom) -> list[str]:
    base = "." * (node.level or 0) + (node.module or "")
    if base == "__future__":
        return []
    return [base, *(f"{base}:{alias.name}" for alias in node.names if alias.name != "*")]


def _is_environ(node: _ast.expr) -> bool:
    return "environ" in (getattr(node, "attr", None), getattr(node, "id", None))


def _may_change_others(node: _ast.stmt) -> bool:
    """Return whether a statement may change what other modules hold, by all that its text tells.

    Assigned calls count as harmless: they mostly make a logger, a mark, or a type variable.
    """
    match node:
        case _ast.ClassDef() | _ast.Delete():
            return True
        case _ast.FunctionDef(decorator_list=[_, *_]) | _ast.AsyncFunctionDef(decorator_list=[_, *_]):
            return True
        case _ast.Expr(value=_ast.Constant(value=value)):
            return value is ...
        case _ast.Expr(value=_ast.Call(func=called)):
            return getattr(called, "attr", "") not in _HARMLESS_CALLS and not _is_path(called)
        case _ast.Assign(targets=targets):
            return any(isinstance(each, _PARTS) and not _is_path(each) for each in targets)
        case _ast.AugAssign(target=target) | _ast.AnnAssign(target=target):
            return isinstance(target, _PARTS) and not _is_path(target)
    return False


def _is_path(node: _ast.AST) -> bool:
    """Return whether an expression is about `sys.path`."""
    while isinstance(node, _PARTS):
        if getattr(node, "attr", "") == "path" and getattr(node.value, "id", "") == "sys":
            return True
        node = node.value
    return False


def _is_guard(test: _ast.expr) -> bool:
    if isinstance(test, _ast.BoolOp):
        return any(_is_guard(value) for value in test.values)
    sides = [test.left, *test.comparators] if isinstance(test, _ast.Compare) else []
    return any(isinstance(side, _ast.Name) and side.id == "__name__" for side in sides)


def _strings(node: _ast.AST) -> list[str]:
    """Return the short strings in an expression that could name a folder."""
    found: list[str] = []
    pending: list[_ast.AST] = [node]
    while pending:
        item = pending.pop()
        if isinstance(item, _ast.Constant):
            text = item.value
            if isinstance(text, str) and 0 < len(text) <= _LONGEST_HINT and "\n" not in text:
                found.append(text)
            continue
        for field in item._fields:
            value = getattr(item, field, None)
            parts = value if isinstance(value, list) else [value]
            pending += [part for part in parts if isinstance(part, _ast.AST)]
    return found

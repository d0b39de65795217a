"""Imports modules in a process that will be forked, and reports the cost of each and whether it is clean.

Only installed modules and the listed packages of the project are imported. Modules that are not found are
skipped, so they stay missing for the tests. A module whose import has side effects makes the process unfit
for forking: the list ends with it, and another process starts without it.
"""

import os
import sys
import time

from passmuster_child_identity import BY_FILE, IdentityReads
from passmuster_child_side_effects import CAN_TELL, SideEffects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import Any, Callable, Iterable, Optional, Sequence

    from passmuster_child_executed_conftests import ExecutedConftests

    Result = tuple[str, float, int, str]
    """A name as it was asked for, CPU seconds, bytes of memory, and the verdict."""

OK = "ok"
ATTRIBUTE = "attribute"
"""`a:b` is no module: `from a import b` takes something out of `a`."""

CONFTEST = "/"
"""Starts the names of conftests, which are their paths below the root."""

MISSING = "missing"
OUTSIDE = "outside"
"""It would come from a place that belongs to no interpreter, and was not named."""

MODIFIES = "modifies "
"""Starts the verdict on a module that changes what another module of the project holds; the name of that
follows. It may be preloaded for files that import it at the same position."""

_HARMLESS = (OK, ATTRIBUTE, MISSING, OUTSIDE)

_LONGEST_REASON = 200


def is_clean(results: "list[Result]") -> bool:
    """Whether the process in which these imports happened may be forked."""
    return all(_is_harmless(verdict) for _, _, _, verdict in results)


def _is_harmless(verdict: str) -> bool:
    """Return whether a verdict leaves the process fit to be forked; if not, it is the reason."""
    return verdict in _HARMLESS or verdict.startswith(MODIFIES)


def interpreter_roots() -> "list[str]":
    """Return the folders of the standard library and of installed packages of this interpreter."""
    roots = [os.path.dirname(os.path.realpath(os.__file__))]
    for entry in sys.path:
        if os.path.basename(entry) in ("site-packages", "dist-packages", "lib-dynload"):
            roots.append(os.path.realpath(entry))
        elif entry.endswith(".zip") and os.path.basename(entry).startswith("python"):
            roots.append(os.path.realpath(entry))
    return list(dict.fromkeys(roots))


def preload(
    names: "Iterable[str]",
    allowed_roots: "Iterable[str]",
    own: "Optional[dict[str, str]]" = None,
    *,
    every_warning: bool = False,
    on_import: "Callable[[str], object]" = bool,
    finders: "Sequence[Callable[[], str]]" = (),
    conftests: "Optional[ExecutedConftests]" = None,
) -> "list[Result]":
    """Import modules one after another until one is not clean.

    Args:
        names: dotted names; `a:b` stands for what `from a import b` imports, `/a/conftest.py` for a conftest.
        allowed_roots: folders whose modules may be imported, see `interpreter_roots`.
        own: modules of the project that may be imported as well, each with the file that it must come from.
        on_import: called with each name before its import, so an import that never returns is known.
        every_warning: warnings that the filters hide count, too: pytest shows more of them than Python.
        finders: say after each import what it did, such as drawing random numbers; empty: nothing.
        conftests: imports conftests; None: there is no session of pytest.
    """
    if not CAN_TELL:
        return [(name, 0.0, 0, "cannot be watched on this system") for name in names]
    with Outputs() as outputs, _Warnings(every=every_warning) as warned:
        watches = (warned.take, *finders)
        return _Preload(allowed_roots, own or {}, outputs, watches, on_import, conftests).run(names)


class _Preload:
    """One call of `preload`."""

    def __init__(
        self,
        allowed_roots: "Iterable[str]",
        own: "dict[str, str]",
        outputs: "Outputs",
        finders: "tuple[Callable[[], str], ...]",
        on_import: "Callable[[str], object]",
        conftests: "Optional[ExecutedConftests]",
    ) -> None:
        self._roots = tuple(os.path.join(os.path.realpath(root), "") for root in allowed_roots)
        self._own = own
        self._outputs = outputs
        self._finders = finders
        self._on_import = on_import
        self._conftests = conftests
        self._results: "dict[str, Result]" = {}
        self._before = SideEffects(outputs.descriptor)

    def run(self, names: "Iterable[str]") -> "list[Result]":
        """Import the modules; return the results in the order in which they came about."""
        for name in names:
            for step in _steps(name):
                if step not in self._results:
                    self._results[step] = self._one(step)
                verdict = self._results[step][3]
                if not _is_harmless(verdict):
                    return list(self._results.values())
                if verdict in (MISSING, OUTSIDE):
                    break
        return list(self._results.values())

    def _one(self, step: str) -> "Result":
        if step.startswith(CONFTEST):
            return self._conftest(step)
        module, _, attribute = step.partition(":")
        if attribute:
            return self._attribute(step, module, attribute)
        if module in sys.modules:
            return (step, 0.0, 0, OK if sys.modules[module] is not None else MISSING)
        verdict = self._place(module)
        if verdict != OK:
            return (step, 0.0, 0, verdict)
        return self._watched(step, lambda: self._import(module))

    def _conftest(self, step: str) -> "Result":
        path, conftests = self._own[step], self._conftests
        if conftests is None or conftests.has(path):
            return (step, 0.0, 0, MISSING if conftests is None else OK)
        if not conftests.extend_path(path):
            return (step, 0.0, 0, "is imported by importlib, not by its name")
        self._before.path = list(sys.path)
        return self._watched(step, lambda: conftests.execute(path) or OK)

    def _attribute(self, step: str, module: str, attribute: str) -> "Result":
        dotted = module + "." + attribute
        if dotted in sys.modules:
            return (step, 0.0, 0, OK)
        names = vars(sys.modules[module])
        if attribute in names:
            return (step, 0.0, 0, ATTRIBUTE)
        if "__getattr__" in names:
            # A module that makes its parts when they are asked for may import anything to do so.
            return self._watched(step, lambda: self._take(module, attribute))
        verdict = self._place(dotted)
        return self._watched(step, lambda: self._import(dotted)) if verdict == OK else (step, 0.0, 0, verdict)

    def _take(self, module: str, attribute: str) -> str:
        if hasattr(sys.modules[module], attribute):
            return OK if module + "." + attribute in sys.modules else ATTRIBUTE
        dotted = module + "." + attribute
        verdict = self._place(dotted)
        return self._import(dotted) if verdict == OK else verdict

    @staticmethod
    def _import(name: str) -> str:
        __import__(name)
        return OK

    def _watched(self, step: str, act: "Callable[[], str]") -> "Result":
        """Do something and say what it cost and left behind."""
        before, streams = self._before, _kept_streams()
        self._on_import(step)
        began = time.process_time()  # Waiting for a CPU, or once for the disk, is no cost that a file has.
        reads = IdentityReads()
        try:
            with reads:
                verdict = act()
        except BaseException as error:
            verdict = ("raises %s: %s" % (type(error).__name__, error)).split("\n")[0]
        seconds = time.process_time() - began
        are_kept = _kept_streams() > streams
        self._outputs.flush()
        self._before = SideEffects(self._outputs.descriptor)
        self._before.settle(before)
        is_own = step.partition(":")[0] in self._own
        found = self._before.difference(before, by_file=BY_FILE if is_own else None)
        if is_own and not found and are_kept:
            found = "keeps sys.stdout or sys.stderr"
        found = found or reads.reason()
        for find in self._finders:
            found = found or find()
        if verdict in _HARMLESS and found:
            verdict = found
        grown = max(0, self._before.status["RssAnon"] - before.status["RssAnon"])
        return (step, seconds, grown, verdict[:_LONGEST_REASON])

    def _place(self, name: str) -> str:
        """Return whether a module that is not imported yet would come from where it may."""
        spec = _find(name)
        if spec is None:
            return MISSING
        if name in self._own:
            is_it = os.path.realpath(str(spec.origin)) == os.path.realpath(self._own[name])
            return OK if is_it else OUTSIDE
        if spec.origin in ("built-in", "frozen"):
            return OK
        places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
        is_inside = bool(places) and all(
            os.path.realpath(str(place)).startswith(self._roots) for place in places
        )
        return OK if is_inside else OUTSIDE


def _kept_streams() -> int:
    """Return how often the standard streams are referred to: pytest replaces them while it captures."""
    return sys.getrefcount(sys.stdout) + sys.getrefcount(sys.stderr)


def _steps(name: str) -> "list[str]":
    """Return what has to be imported for a name, one after another, the name last."""
    if name.startswith(CONFTEST):
        return [name]
    module, _, attribute = name.partition(":")
    parts = module.split(".")
    steps = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return steps + ([name] if attribute else [])


def _find(name: str) -> "Optional[ModuleSpec]":
    """Return where a module would come from; its parent has been imported."""
    parent = name.rpartition(".")[0]
    path = getattr(sys.modules[parent], "__path__", None) if parent else None
    if parent and path is None:
        return None
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        try:
            spec: "Optional[ModuleSpec]" = find_spec(name, path) if find_spec is not None else None
        except Exception:
            return None
        if spec is not None:
            return spec
    return None


class Outputs:
    """Puts a file in memory in the place of stdout and stderr while modules are imported."""

    def __enter__(self) -> "Outputs":
        self.flush()
        self.descriptor = os.memfd_create("imports")
        self._saved = [os.dup(1), os.dup(2)]
        os.dup2(self.descriptor, 1)
        os.dup2(self.descriptor, 2)
        return self

    def __exit__(self, *error: object) -> None:
        self.flush()
        for number, saved in enumerate(self._saved, 1):
            os.dup2(saved, number)
            os.close(saved)
        os.close(self.descriptor)

    @staticmethod
    def flush() -> None:
        """Have what Python holds back written."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                continue


class _Warnings:
    """Notes the first warning that would be shown; the filters are the same afterwards as without it."""

    _ALWAYS = ("always", None, Warning, None, 0)

    def __init__(self, *, every: bool) -> None:
        import warnings

        self._module: "Any" = warnings
        self._every = every
        self._first = ""

    def __enter__(self) -> "_Warnings":
        self._original = self._module.showwarning
        self._module.showwarning = self._note
        if self._every:
            self._module.filters.insert(0, self._ALWAYS)
            self._renew()
        return self

    def __exit__(self, *error: object) -> None:
        if self._module.showwarning == self._note:
            self._module.showwarning = self._original
        for index, entry in enumerate(self._module.filters):
            if entry is self._ALWAYS:
                del self._module.filters[index]
                self._renew()
                break

    def take(self) -> str:
        """Return what was warned of since the last call, as the end of "it ..."; empty: nothing."""
        first, self._first = self._first, ""
        if self._module.showwarning != self._note:
            return "replaces warnings.showwarning"
        return first

    def _note(self, message: object, category: "Any", *others: object, **more: object) -> None:
        self._first = self._first or ("warns: %s: %s" % (category.__name__, message)).split("\n")[0]

    def _renew(self) -> None:
        # Entering and leaving is what makes the interpreter forget what older filters decided.
        with self._module.catch_warnings():
            pass

"""Reports each unittest case, by whichever runner, without changing the result object that a test sees.

`TestCase.run` is wrapped. The outcome of a case is the change of the result's lists, which every result class
keeps. Only the outermost run of a thread counts, because tests of test frameworks run tests inside tests.
"""

import sys
from _thread import get_ident
from time import perf_counter

from passmuster_child_report import ANOTHER
from passmuster_child_select import QUARANTINED, UnknownTestError, unittest_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import unittest
    from types import ModuleType
    from typing import Any, Iterator

    from passmuster_child_report import ReportWriter
    from passmuster_child_select import Selection

_LISTS = (
    ("errors", "error"),
    ("failures", "failed"),
    ("unexpectedSuccesses", "xpassed"),
    ("expectedFailures", "xfailed"),
    ("skipped", "skipped"),
)


_CO_COROUTINE = 0x80  # `inspect.CO_COROUTINE`, without the cost of importing inspect.


def make_loader(
    unittest: "ModuleType", selection: "Selection", module_name: str, reporter: "ReportWriter"
) -> "unittest.TestLoader":
    """Return a loader of the selected tests of a file.

    A module that skips itself is a skipped test for it, as it is in discovery.
    """
    choose = unittest_filter(selection, module_name, lambda test: reporter.text("stale", test))

    class Loader(unittest.TestLoader):  # type: ignore[name-defined,misc]
        def loadTestsFromName(self, name: str, module: "ModuleType | None" = None) -> "object":  # noqa: N802
            try:
                suite = super().loadTestsFromName(name, module)
                if selection.is_empty:
                    return suite
                cases, deselected = choose(list(_cases(suite)))
                if deselected:
                    reporter.count("deselected", deselected)
                if selection.is_part and not any(type(case).__name__ == "_FailedTest" for case in cases):
                    cases = selection.cut(cases, list(map(_name, cases)), reporter)
                return self.suiteClass(cases)
            except UnknownTestError as error:
                reporter.text("collect", str(error))
                sys.stderr.write("ERROR: %s\n" % error)
                raise SystemExit(4) from None
            except unittest.SkipTest as error:
                return unittest.loader._make_skipped_test(name, error, self.suiteClass)

    return Loader()


def _cases(suite: "Any") -> "Iterator[Any]":
    """Yield the cases of a suite, and of the suites in it."""
    for each in suite:
        if hasattr(each, "id"):
            yield each
        else:
            yield from _cases(each)


def watch_cases(case_module: "ModuleType", reporter: "ReportWriter", selection: "Selection") -> None:
    """Wrap `unittest.case.TestCase.run`; called right after that module was imported."""
    skip = case_module.SkipTest
    original = case_module.TestCase.run
    depths: "dict[int, int]" = {}

    def run(
        self: "unittest.TestCase", result: "unittest.TestResult | None" = None
    ) -> "unittest.TestResult | None":
        thread = get_ident()
        if thread in depths or not _keeps_lists(result):
            return original(self, result)  # type: ignore[no-any-return]
        depths[thread] = 1
        if selection.quarantined and selection.is_quarantined(_name(self)):
            _quarantine(self, skip)
        before = _lengths(result)
        started = perf_counter()
        try:
            returned = original(self, result)
        finally:
            del depths[thread]
        seconds = perf_counter() - started
        kept = result if result is not None else returned
        outcome, message = _what_is_new(kept, before)
        if type(self).__name__ == "_FailedTest":
            reporter.text("collect", message)
        reporter.ran.update((id(kind), self._testMethodName) for kind in type(self).__mro__)
        reporter.case(self.id(), outcome, seconds, message)
        return returned  # type: ignore[no-any-return]

    run.__wrapped__ = original  # type: ignore[attr-defined]
    run.__doc__, run.__qualname__, run.__module__ = (
        original.__doc__,
        original.__qualname__,
        original.__module__,
    )
    case_module.TestCase.run = run


def _quarantine(case: "unittest.TestCase", skip: "type[Exception]") -> None:
    """Have a test that fails be skipped instead, with its failure as the reason."""
    method: "Any" = getattr(case, case._testMethodName)

    def skipped(error: Exception) -> Exception:
        return skip("%s: %s: %s" % (QUARANTINED, type(error).__name__, error))

    def quarantined(*args: object) -> object:
        try:
            return method(*args)
        except skip:
            raise
        except Exception as error:
            raise skipped(error) from error

    async def quarantined_later(*args: object) -> object:
        try:
            return await method(*args)
        except skip:
            raise
        except Exception as error:
            raise skipped(error) from error

    is_async = method.__code__.co_flags & _CO_COROUTINE if hasattr(method, "__code__") else 0
    wrapper: "Any" = quarantined_later if is_async else quarantined
    wrapper.__dict__.update(getattr(method, "__dict__", {}))
    setattr(case, case._testMethodName, wrapper)


def watch_suites(suite_module: "ModuleType", reporter: "ReportWriter") -> None:
    """Wrap the suite: report its begin and end, and errors of class and module set-up."""
    suite = suite_module.TestSuite
    original_run = suite.run
    original_add = suite._addClassOrModuleLevelException
    depths: "dict[int, int]" = {}

    def run(
        self: "unittest.TestSuite",
        result: "unittest.TestResult",
        debug: bool = False,  # noqa: FBT001, FBT002 - as the original has it.
    ) -> "unittest.TestResult":
        thread = get_ident()
        depth = depths.get(thread, 0)
        depths[thread] = depth + 1
        if depth == 0:
            reporter.mark("begin")
            reporter.tests_begin()
        is_left = False
        try:
            return original_run(self, result, debug)  # type: ignore[no-any-return]
        except SystemExit:
            is_left = True  # A set-up that exits, even with status 0, leaves the tests behind it out.
            raise
        finally:
            depths[thread] = depth
            if depth == 0 and not is_left:
                reporter.mark("done")

    def add(
        self: "unittest.TestSuite",
        result: "unittest.TestResult",
        exception: BaseException,
        errorName: str,  # noqa: N803 - as the original has it.
        *rest: object,
        **named: object,
    ) -> None:
        before = _lengths(result)
        original_add(self, result, exception, errorName, *rest, **named)
        outcome, message = _what_is_new(result, before)
        if depths.get(get_ident(), 0) and outcome != "passed":
            reporter.case(errorName, outcome, 0.0, message)
            if outcome == "skipped":
                reporter.skipped.add(errorName)

    suite.run = run
    suite._addClassOrModuleLevelException = add


def _keeps_lists(result: "unittest.TestResult | None") -> bool:
    """Whether a result's lists tell how a test ended; pytest's own object, for one, has none."""
    return result is None or hasattr(result, "failures")


def _name(case: "unittest.TestCase") -> str:
    """Return the name of a test inside its file, `Class::test`."""
    return "::".join(case.id().split(".")[-2:])


def _lengths(result: "unittest.TestResult | None") -> "list[int]":
    return [len(getattr(result, name, ())) for name, _ in _LISTS]


def _what_is_new(result: "unittest.TestResult | None", before: "list[int]") -> "tuple[str, str]":
    new = [
        (outcome, entry)
        for (name, outcome), length in zip(_LISTS, before)  # noqa: B905 - not in Python 3.9.
        for entry in getattr(result, name, ())[length:]
    ]
    if not new:
        return "passed", ""
    found = new[0][0]
    counts = ("error", "failed") if found == "error" else (found,)
    return found, ANOTHER.join(_message(entry) for outcome, entry in new if outcome in counts)


def _message(entry: object) -> str:
    message = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else ""
    return message if isinstance(message, str) else str(message)

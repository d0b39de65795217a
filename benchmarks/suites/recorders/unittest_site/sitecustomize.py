"""Writes how each unittest test of a plain run ended: a JSON list a line, `[file, name, outcome]`.

Plain runs whose command is not pytest find it by PYTHONPATH; Python imports a module of this name at its
start.
"""

import json
import os
import sys
import unittest
from pathlib import Path

FILE_VARIABLE = "BENCHMARK_RECORD"
WORST_LAST = ("passed", "skipped", "xfailed", "xpassed", "error", "failed")
LOADED_FROM = "_benchmark_loaded_from"


def place_of(test):
    """Return the file that a test was loaded from, and its name in there as pytest spells it."""
    module = sys.modules.get(getattr(test, LOADED_FROM, type(test).__module__))
    file = str(Path(getattr(module, "__file__", None) or "").absolute())
    doctest = getattr(test, "_dt_test", None)
    if doctest is not None:
        is_loaded = hasattr(test, LOADED_FROM)
        return file if is_loaded else str(Path(doctest.filename or "").absolute()), doctest.name
    method = getattr(test, "_testMethodName", None)
    if method is None:
        return file, str(test)
    return file, "::".join([*type(test).__qualname__.split("."), method])


def tag_loaded_tests():
    """Note on each test which module it was loaded from: it may be defined elsewhere."""
    original = unittest.TestLoader.loadTestsFromModule

    def load(self, module, *arguments, **options):
        suite = original(self, module, *arguments, **options)
        pending = [suite]
        while pending:
            entry = pending.pop()
            if isinstance(entry, unittest.TestSuite):
                pending.extend(entry)
            elif entry is not None and not hasattr(entry, LOADED_FROM):
                setattr(entry, LOADED_FROM, module.__name__)
        return suite

    unittest.TestLoader.loadTestsFromModule = load


def record_into(path):
    """Make every `TestResult` append what it is told to the file of this path."""
    running = {}

    def wrap(name, outcome):
        original = getattr(unittest.TestResult, name)

        def method(self, test, *details):
            whole = getattr(test, "test_case", test)
            running.setdefault(id(whole), []).append(outcome)
            if id(whole) not in started:
                write(whole)
            return original(self, test, *details)

        setattr(unittest.TestResult, name, method)

    started = set()
    start, stop = unittest.TestResult.startTest, unittest.TestResult.stopTest
    sub = unittest.TestResult.addSubTest

    def start_test(self, test):
        # Programs that a test starts must not write here; those that start the tests must hand it down.
        os.environ.pop(FILE_VARIABLE, None)
        started.add(id(test))
        return start(self, test)

    def stop_test(self, test):
        started.discard(id(test))
        write(test)
        return stop(self, test)

    def add_sub_test(self, test, subtest, error):
        if error is not None:
            failed = issubclass(error[0], test.failureException)
            running.setdefault(id(test), []).append("failed" if failed else "error")
        return sub(self, test, subtest, error)

    def write(test):
        outcomes = running.pop(id(test), None)
        # A class made inside a function is mostly a test that a test runs to see it fail.
        if outcomes and "<locals>" not in type(test).__qualname__:
            with open(path, "a", encoding="ascii") as stream:
                stream.write(json.dumps([*place_of(test), max(outcomes, key=WORST_LAST.index)]) + "\n")

    unittest.TestResult.startTest = start_test
    unittest.TestResult.stopTest = stop_test
    unittest.TestResult.addSubTest = add_sub_test
    wrap("addSuccess", "passed")
    wrap("addFailure", "failed")
    wrap("addError", "error")
    wrap("addSkip", "skipped")
    wrap("addExpectedFailure", "xfailed")
    wrap("addUnexpectedSuccess", "xpassed")


if FILE_VARIABLE in os.environ:
    tag_loaded_tests()
    record_into(os.environ[FILE_VARIABLE])

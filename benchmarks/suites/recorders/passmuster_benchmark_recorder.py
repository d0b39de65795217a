"""A pytest plugin that writes how each test of a plain run ended: a list `[file, name, outcome]` a line.

It runs in the suite's interpreter (any version), is copied into its environment, and is loaded by `-p` only
in plain runs. It shares no code with the runner that it is compared with.
"""

import json
import os
from pathlib import Path

FILE_VARIABLE = "BENCHMARK_RECORD"
WORST_LAST = ("passed", "skipped", "xfailed", "xpassed", "error", "failed")


class Recorder:
    """Writes each test when its teardown was reported, with the worst outcome of its phases."""

    def __init__(self, root, path):
        self._root = root
        self._path = path
        self._running = {}

    def pytest_collectreport(self, report):
        """Write a module that could not be collected, or that skipped itself."""
        if report.failed:
            self._write(report.nodeid, "error")
        elif report.skipped and report.nodeid:
            self._write(report.nodeid, "skipped")

    def pytest_runtest_logreport(self, report):
        """Note the outcome of a phase."""
        outcomes = self._running.setdefault(report.nodeid, [])
        outcomes.append(outcome_of(report))
        if report.when == "teardown":
            self._write(report.nodeid, max(self._running.pop(report.nodeid), key=WORST_LAST.index))

    def pytest_unconfigure(self):
        """Write what never reached its teardown."""
        for nodeid in self._running:
            self._write(nodeid, "error")

    def _write(self, nodeid, outcome):
        path, _, name = nodeid.partition("::")
        with open(self._path, "a", encoding="ascii") as stream:
            stream.write(json.dumps([str(self._root / path), name, outcome]) + "\n")


def outcome_of(report):
    """Return the outcome of one phase, in the words of pytest's summary."""
    expected_to_fail = hasattr(report, "wasxfail")
    if report.passed:
        return "xpassed" if expected_to_fail else "passed"
    if report.skipped:
        return "xfailed" if expected_to_fail else "skipped"
    return "failed" if report.when == "call" else "error"


def pytest_configure(config):
    """Start recording, but not in the worker processes of pytest-xdist and not in a session inside a test."""
    path = os.environ.pop(FILE_VARIABLE, None)
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path(config.rootpath), path))

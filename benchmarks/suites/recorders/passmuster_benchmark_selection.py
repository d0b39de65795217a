"""A pytest plugin that runs all tests, and writes which files fail and where pytest-testmon selects a test.

Needs `--testmon-nocollect`, and in `BENCHMARK_RECORD` the file to write. After its first
failure, nothing more of a file runs.
"""

import json
import os
from pathlib import Path

import pytest


class Recorder:
    """What is known so far; paths of files relative to the root."""

    def __init__(self, select):
        self.select = select
        self.selected = set()
        self.failing = set()

    def pytest_collection_modifyitems(self, items):
        """Note the selected tests."""
        stable = set(self.select.deselected_tests)
        self.selected |= {_file(item.nodeid) for item in items if item.nodeid not in stable}

    def pytest_collectreport(self, report):
        """Note a file that cannot be imported."""
        if report.failed:
            self.failing.add(_file(report.nodeid))
            if _file(report.nodeid) not in self.select.deselected_files:
                self.selected.add(_file(report.nodeid))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item):
        """Skip the tests of a file that has failed."""
        if _file(item.nodeid) in self.failing:
            pytest.skip("its file has failed")

    def pytest_runtest_logreport(self, report):
        """Note a failure."""
        if report.failed:
            self.failing.add(_file(report.nodeid))

    def pytest_sessionfinish(self):
        """Write what is known."""
        known = {"selected": sorted(self.selected), "failing": sorted(self.failing)}
        Path(os.environ["BENCHMARK_RECORD"]).write_text(json.dumps(known))


def _file(node):
    return node.partition("::")[0]


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """Take the selection from pytest-testmon, which has started, and keep it from selecting."""
    select = config.pluginmanager.unregister(name="TestmonSelect")
    config.pluginmanager.register(Recorder(select))

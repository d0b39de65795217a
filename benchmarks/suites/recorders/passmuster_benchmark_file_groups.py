"""A pytest plugin for pytest-isolated: the tests of a file are one group, which runs in one process."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark each test with the group of its file."""
    for item in items:
        item.add_marker(pytest.mark.isolated(group=item.nodeid.partition("::")[0]))

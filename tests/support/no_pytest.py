"""The interpreter of a project in which nothing indicates pytest: discovery never asks for it."""

from __future__ import annotations

from dispatcher.discovery.pytest_files import ProjectPython


def without_pytest() -> ProjectPython:
    """Fail: names and directories were to decide."""
    raise AssertionError("the project's interpreter was asked for")

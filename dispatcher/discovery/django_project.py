"""Recognises a Django project whose tests only `manage.py test` can run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.config.sources import FILE_NAME
from passmuster.settings.values import on_one_line
from passmuster.status import RunnerKind

_SETTINGS = "DJANGO_SETTINGS_MODULE"
"""Names the settings: in `manage.py`, and where pytest knows them, in its configuration or a conftest."""

_PYTEST_PLACES = (
    "pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
    "conftest.py",
    "tests/conftest.py",
)

_CONFIGURES = (_SETTINGS, "settings.configure(", "django.setup(")
"""What such a place holds where it configures Django for pytest."""

COMMAND = '["{python}", "manage.py", "test", "--noinput", "{module}"]'


def django_advice(config: TestConfig, workdir: Path) -> str | None:
    """Return the command that a Django project should configure; None where none is needed.

    Args:
        config: what the user asks for.
        workdir: where tests run, absolute.
    """
    if config.usual_runner is not RunnerKind.AUTO or _SETTINGS in os.environ:
        return None
    if not _holds(workdir / "manage.py", (_SETTINGS,)):
        return None
    if any(_holds(workdir / place, _CONFIGURES) for place in _PYTEST_PLACES):
        return None
    file = on_one_line(str(config.root / FILE_NAME))
    return (
        "this is a Django project without settings for pytest (pytest-django): to run its tests by "
        f"manage.py, add command = {COMMAND} to [tool.passmuster] in {file}"
    )


def _holds(path: Path, words: Sequence[str]) -> bool:
    try:
        text = path.read_bytes()
    except OSError:
        return False
    return any(word.encode() in text for word in words)

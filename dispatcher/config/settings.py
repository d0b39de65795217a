"""The one table of settings: the rows that the fields of `TestConfig` are annotated with."""

from __future__ import annotations

from dispatcher.config.model import TestConfig
from passmuster.settings.setting import Setting, rows_of
from passmuster.wire.broker_settings import private_variables

SETTINGS: tuple[Setting, ...] = rows_of(TestConfig)
"""In the order of the help text."""

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}

PRIVATE_VARIABLES = private_variables(SETTINGS)
"""Variables that are removed from the environment of tests."""

PATHS, ROOT, PYTEST_ARGUMENTS = BY_NAME["paths"], BY_NAME["root"], BY_NAME["pytest-args"]

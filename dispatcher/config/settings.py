"""The table of settings, from the annotations of `TestConfig`, and the parser of a run's arguments."""

from __future__ import annotations

from dispatcher.config.model import TestConfig
from passmuster.settings.argument_parser import ArgumentParser
from passmuster.settings.setting import Setting, rows_of
from passmuster.wire.broker_settings import own_variables

SETTINGS: tuple[Setting, ...] = rows_of(TestConfig)
"""In the order of the help text."""

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}

OWN_VARIABLES = own_variables(SETTINGS)
"""Variables that configure Passmuster; tests never see them."""

WITHOUT_EFFECT = ("--unit", "--parallel", "--full", "--ff", "--failed-first")
"""Options of later shell scripts and of pytest that name the default behaviour."""

RUN_PARSER = ArgumentParser(SETTINGS, ignored=WITHOUT_EFFECT, passes_on=True)

PATHS, ROOT, PYTEST_ARGUMENTS = BY_NAME["paths"], BY_NAME["root"], BY_NAME["pytest-args"]

"""Each expected error ends the command with its own exit status."""

from __future__ import annotations

import pytest

from dispatcher.model.exit_codes import ExitCode
from passmuster.model.errors import ConfigurationError, InfrastructureError, PassmusterError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PassmusterError, ExitCode.FAILED),
        (ConfigurationError, ExitCode.USAGE),
        (InfrastructureError, ExitCode.INFRASTRUCTURE),
    ],
)
def test_an_error_has_the_documented_exit_status(error: type[PassmusterError], code: ExitCode) -> None:
    assert error.exit_code == code
    assert issubclass(error, PassmusterError)


def test_the_exit_statuses_are_those_that_scripts_depend_on() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "INFRASTRUCTURE": 3,
        "NO_TESTS": 5,
        "INTERRUPTED": 130,
    }

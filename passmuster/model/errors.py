"""The errors shared by dispatcher and worker. All are expected: `main` prints one line and exits with the
status.

    PassmusterError                 exit 1; base of all below
    ├── ConfigurationError          exit 2; arguments, environment or configuration file
    └── InfrastructureError         exit 3; the infrastructure failed: broker, worker, disk, processes

Messages are one line, start in lower case, and name the value, where it came from, what is allowed,
and what to do next. Any other exception is a bug in Passmuster and shows a traceback.
"""

from __future__ import annotations

from typing import ClassVar


class PassmusterError(Exception):
    """Base of the errors that are printed as one line."""

    exit_code: ClassVar[int] = 1


class ConfigurationError(PassmusterError):
    """The user asked for something that cannot be; nothing was run."""

    exit_code: ClassVar[int] = 2


class InfrastructureError(PassmusterError):
    """The run could not be carried out completely, through no fault of the tests."""

    exit_code: ClassVar[int] = 3

"""The Python API: run a project's test files from a program of yours.

Only the names in `__all__` are kept stable; everything else in this package can change with any version.
"""

from dispatcher.model.events import (
    FileFinished,
    FileSettled,
    FileSlow,
    FileStarted,
    Notice,
    Reporter,
    RunEvent,
    RunFinished,
    RunStarted,
    RunStopping,
    StopCause,
    UsageSampled,
)
from dispatcher.model.plan import TestFile
from passmuster.model.errors import ConfigurationError, InfrastructureError, PassmusterError
from passmuster.model.version import VERSION
from run_ci_replica import CIReplicaRunner, setup_ci_environment
from run_tests import (
    CaseResult,
    ExitCode,
    Outcome,
    ProcessManager,
    RunnerKind,
    Status,
    TestConfig,
    TestResult,
    TestResults,
    TestRunner,
    calculate_max_workers,
    get_test_environment,
    parse_amount,
    parse_seconds,
    run_single_test,
)

__all__ = [
    "VERSION",
    "CIReplicaRunner",
    "CaseResult",
    "ConfigurationError",
    "ExitCode",
    "FileFinished",
    "FileSettled",
    "FileSlow",
    "FileStarted",
    "InfrastructureError",
    "Notice",
    "Outcome",
    "PassmusterError",
    "ProcessManager",
    "Reporter",
    "RunEvent",
    "RunFinished",
    "RunStarted",
    "RunStopping",
    "RunnerKind",
    "Status",
    "StopCause",
    "TestConfig",
    "TestFile",
    "TestResult",
    "TestResults",
    "TestRunner",
    "UsageSampled",
    "calculate_max_workers",
    "get_test_environment",
    "parse_amount",
    "parse_seconds",
    "run_single_test",
    "setup_ci_environment",
]

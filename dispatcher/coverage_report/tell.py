"""Makes the coverage report at the end of a run, prints what it comes to, and says what that means."""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.config.model import TestConfig
from dispatcher.coverage_report.merge import CoverageReport
from dispatcher.coverage_report.summary import format_coverage_summary
from dispatcher.exit_codes import ExitCode
from dispatcher.report.plain_text import one_line
from dispatcher.report.tags import Tag, tagged
from passmuster.errors import InfrastructureError, PassmusterError


def tell_coverage(
    make: Callable[[], CoverageReport], config: TestConfig, write: Callable[[str], None], *, color: bool
) -> ExitCode:
    """Print the summary of the report that `make` writes, and return the status it gives the run.

    Raises:
        InfrastructureError: the report could not be made.
    """
    try:
        report = make()
    except InfrastructureError:
        raise
    except PassmusterError as error:
        write(f"{tagged(Tag.WARN, one_line(str(error)), color=color)}\n")
        return ExitCode.FAILED
    # A part of a run covers a part of the project: what is demanded of the whole is checked by `merge`.
    limit = config.coverage_fail_under if config.shard is None else None
    lines = format_coverage_summary(
        report,
        info_tag=tagged(Tag.INFO, "", color=color).rstrip(),
        warn_tag=tagged(Tag.WARN, "", color=color).rstrip(),
        fail_tag=tagged(Tag.FAIL, "", color=color).rstrip(),
        fail_under=limit,
        clean=one_line,
    )
    write("".join(f"{line}\n" for line in lines))
    return ExitCode.FAILED if limit is not None and report.is_below(limit) else ExitCode.OK

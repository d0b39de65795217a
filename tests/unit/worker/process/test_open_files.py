"""The limit of open files that a run needs."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest

from passmuster.model.errors import InfrastructureError
from worker.process.open_files import REPORT_FD, require_open_files

CHILD = Path(__file__).parents[4] / "worker" / "child" / "passmuster_child_supervisor.py"


def test_the_report_descriptor_is_that_of_the_test_processes() -> None:
    assert re.findall(r"^REPORT_FD = (\d+)$", CHILD.read_text(), re.MULTILINE) == [str(REPORT_FD)]


@pytest.mark.parametrize(("limit", "is_enough"), [(198, False), (199, True), (resource.RLIM_INFINITY, True)])
def test_a_limit_below_what_a_test_process_needs_is_refused(
    limit: int, is_enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    if is_enough:
        require_open_files()
        return
    with pytest.raises(InfrastructureError, match=r"only 198 open files .* need 199; allow more \(ulimit -n"):
        require_open_files()

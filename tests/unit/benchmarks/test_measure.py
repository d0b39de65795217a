"""A measured command is ended with whoever measures it."""

from __future__ import annotations

from pathlib import Path
from subprocess import Popen

import pytest

from benchmarks import measure as measuring
from benchmarks.measure import measure, plain_environment


def test_what_is_measured_ends_with_an_interrupted_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def interrupted(process: Popen[bytes], *_: object) -> bool:
        started.append(process.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "_wait", interrupted)

    with pytest.raises(KeyboardInterrupt):
        measure(["sleep", "60"], cwd=tmp_path, environment=plain_environment(), output=tmp_path / "log")

    assert not Path(f"/proc/{started[0]}").exists()


def test_processes_at_once_are_counted_and_a_long_run_is_killed_whole(tmp_path: Path) -> None:
    measured = measure(
        ["sh", "-c", "sleep 60 & sleep 60 & wait"],
        cwd=tmp_path,
        environment=plain_environment(),
        output=tmp_path / "log",
        timeout_s=0.5,
    )

    assert measured.timed_out
    assert measured.peak_processes == 3

"""The unit of systemd: systemd understands it, and the worker understands its command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from passmuster.model.units import parse_seconds
from worker.queue.command_line import WorkerArguments
from worker.queue.options import read_options

UNIT = Path(__file__).resolve().parents[3] / "deploy" / "systemd" / "passmuster-worker@.service"
PROGRAM = "/opt/passmuster/bin/run-tests-worker"


def setting(name: str) -> str:
    found = re.search(rf"^{name}=((?:.*\\\n)*.*)$", UNIT.read_text(), re.MULTILINE)
    assert found is not None, name
    return found[1].replace("\\\n", " ")


@pytest.fixture
def analyze() -> str:
    if shutil.which("systemd-analyze") is None and not os.environ.get("CI"):
        pytest.skip("systemd is not installed")
    return "systemd-analyze"


def run(*words: str) -> str:
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    return ended.stderr + ended.stdout


def test_systemd_understands_every_line(analyze: str, tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    # The program is not installed here.
    copy.write_text(UNIT.read_text().replace(PROGRAM, shutil.which("true") or ""))

    assert run(analyze, "verify", str(copy)) == ""
    exposure = re.search(
        r"exposure level for .*: ([0-9.]+)", run(analyze, "security", "--offline=yes", str(copy))
    )
    assert exposure is not None
    assert float(exposure[1]) < 4  # "OK" of systemd; a unit without restrictions has 9.6.

    copy.write_text(copy.read_text().replace("KillMode=mixed", "KillMode=mixt"))
    assert run(analyze, "verify", str(copy)) != ""


@pytest.fixture
def arguments(tmp_path: Path) -> WorkerArguments:
    """Return the worker's options as the unit gives them, with those of worker.env."""
    (tmp_path / "broker-password").write_text("password")
    (tmp_path / "secret").write_text("0123456789abcdef")
    for path in tmp_path.iterdir():
        path.chmod(0o400)
    program, *words = setting("ExecStart").replace("$WORKER_OPTIONS", "--metrics 9464").split()
    assert program == PROGRAM
    known = {
        "${CREDENTIALS_DIRECTORY}": str(tmp_path),
        "/var/lib/passmuster/project": str(tmp_path),
        "%l-%i": "build-7-1",
    }
    for text, value in known.items():
        words = [word.replace(text, value) for word in words]
    assert not [word for word in words if "%" in word.rstrip("%") or "$" in word]
    return read_options(words, {"PASSMUSTER_BROKER_URL": "redis://127.0.0.1"}).arguments


def test_the_worker_understands_its_command(arguments: WorkerArguments) -> None:
    assert arguments.name == "build-7-1"
    assert str(arguments.metrics) == "127.0.0.1:9464"


def test_systemd_waits_until_running_files_have_finished(arguments: WorkerArguments) -> None:
    waits_s = parse_seconds(setting("TimeoutStopSec").replace("min", "m"))

    # And not only the worker: with `control-group`, systemd would send SIGTERM to the tests as well.
    assert setting("KillMode") == "mixed"
    assert waits_s >= arguments.grace_period + 30

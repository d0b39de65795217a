"""Which runs a real worker serves: by their terms, their dispatcher's signs of life, and its own health."""

from __future__ import annotations

import sys
import time
import venv
from pathlib import Path
from typing import Any

import pytest

from passmuster.model.status import Status
from passmuster.model.version import VERSION
from passmuster.wire.broker_keys import DISPATCHER_TIMEOUT_S, meta_key
from passmuster.wire.envelope import Envelope, EnvelopeError
from passmuster.wire.run_store import WorkerDirectory
from tests.support.queue_worker import SECRET, Run, Start, WorkerProcess, until, waiting


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "ok.py").write_text("pass\n", encoding="utf-8")
    return root


def serves(run: Run, worker: WorkerProcess) -> bool:
    cards = WorkerDirectory(run.client).statuses()
    return any(card.name == worker.name and run.run_id in card.runs for card in cards)


def refusal(run: Run) -> tuple[str, str]:
    """Wait for a refusal; return who refuses, and the message."""

    def is_there() -> bool:
        run.look()
        return bool(run.refused)

    until(is_there, "a worker refuses")
    return run.refused[-1]


def test_a_worker_says_which_runs_it_serves(run: Run, start: Start) -> None:
    worker = start()

    run.submit(run.task("ok.py"))

    assert run.wait(1)["ok.py"].status is Status.PASS
    until(lambda: serves(run, worker), "its card names the run")
    run.record.end()
    until(lambda: not serves(run, worker), "it has left the run")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": "0.0.1"}, f"the dispatcher has version 0.0.1, the worker {VERSION}"),
        ({"run_id": "another"}, "the spec is of run 'another'"),
        ({"environment_names": ("LANG", "TZ")}, "the run sets LANG, the worker allows TZ"),
    ],
)
def test_a_run_that_a_worker_cannot_serve_is_refused_and_nothing_of_it_is_taken(
    run: Run, start: Start, changes: dict[str, Any], complaint: str
) -> None:
    worker = start("--allow-env", "TZ")
    run.seed(run.task("ok.py"), spec=run.signed_spec(**changes))
    run.publish(run.task("ok.py"), 101)

    name, body = refusal(run)

    assert name == worker.name
    [reason] = Envelope(SECRET).verify("refused", body)
    assert complaint in reason
    assert run.record.queue_length() == 1
    assert run.started == []
    worker.process.terminate()
    assert worker.end()[1].count(f"refuses run {run.run_id}: {reason}") == 1


def test_a_run_with_coverage_is_refused_where_it_cannot_be_measured(
    run: Run, start: Start, tmp_path: Path
) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    start("--python", str(tmp_path / "bare/bin/python"))

    run.seed(run.task("ok.py"), spec=run.signed_spec(has_coverage=True))

    reason = Envelope(SECRET).verify("refused", refusal(run)[1])[0]
    assert "the run measures coverage" in reason
    assert "No module named 'coverage'" in reason


def test_another_secret_is_refused_with_the_worker_s_own(run: Run, start: Start) -> None:
    worker = start()
    run.seed(run.task("ok.py"), spec=run.signed_spec(secret="another"))

    name, body = refusal(run)

    assert name == worker.name
    assert "wrong signature" in Envelope(SECRET).verify("refused", body)[0]
    with pytest.raises(EnvelopeError, match="wrong signature"):
        Envelope("another").verify("refused", body)


def test_a_run_whose_dispatcher_is_silent_waits_until_it_speaks_again(run: Run, start: Start) -> None:
    worker = start()
    run.seed(run.task("ok.py"))
    until(lambda: serves(run, worker), "it serves the run")
    seconds = int(time.time()) - DISPATCHER_TIMEOUT_S - 60
    run.client.hset(meta_key(run.run_id), "heartbeat", str(seconds * 1000))
    until(lambda: not serves(run, worker), "it has left the run")
    run.publish(run.task("ok.py"), 101)

    run.record.heartbeat()

    assert run.wait(1)["ok.py"].status is Status.PASS


def test_a_worker_whose_interpreter_is_gone_gives_the_file_back_and_takes_itself_out(
    run: Run, start: Start, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    worker = start("--python", str(python), "--isolation", "spawn")
    python.unlink()

    run.submit(run.task("ok.py"))
    name, body = refusal(run)

    assert name == worker.name
    assert f"cannot execute {python}" in Envelope(SECRET).verify("refused", body)[0]
    assert run.released == [("ok.py", 101, worker.name)]
    assert waiting(run.record, ["ok.py"]) == {"ok.py": 101}
    status, output = worker.end()
    assert status == 3
    assert f"stopped because it cannot run files: cannot execute {python}" in output
    start()
    run.publish(run.task("ok.py"), 101)
    assert run.wait(1)["ok.py"].status is Status.PASS


def test_a_worker_of_one_run_leaves_all_others_alone(run: Run, start: Start) -> None:
    other = Run(run.url)
    worker = start("--only-run-id", run.run_id)
    try:
        other.submit(other.task("ok.py"))
        run.submit(run.task("ok.py"))

        assert run.wait(1)["ok.py"].status is Status.PASS
        other.look()
        assert other.started == []
        assert not serves(other, worker)
        (card,) = [card for card in WorkerDirectory(run.client).statuses() if card.name == worker.name]
        assert card.only_run == run.run_id
    finally:
        other.close()

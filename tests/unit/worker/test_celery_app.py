"""The Celery application of a worker: what its end is taken for."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from celery import signals

from worker.celery_app import make_app, run_worker


@pytest.mark.parametrize(("exit_code", "is_as_asked"), [(None, True), (0, True), (1, False)])
def test_celery_says_itself_whether_it_gave_up(
    exit_code: int | None, is_as_asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(_words: Any) -> None:
        signals.worker_init.send(sender=Mock(exitcode=exit_code))

    app = make_app("redis://127.0.0.1:1/0")
    monkeypatch.setattr(app, "worker_main", serve)

    found = run_worker(app, name="one", slots=1, on_ready=lambda _: None, on_signal=lambda: None)

    assert found is is_as_asked

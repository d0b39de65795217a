"""The messages when no process or thread can start."""

from __future__ import annotations

import errno
import threading

import pytest

from passmuster.model.errors import InfrastructureError
from passmuster.model.process_limit import NoThreadError, require_process, start_thread


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_a_program_that_finds_no_process_is_not_to_blame(number: int) -> None:
    with pytest.raises(InfrastructureError, match=r"^cannot start /a/python: no luck; allow more"):
        require_process(OSError(number, "no luck"), "/a/python")


def test_any_other_error_is_the_programs_own() -> None:
    require_process(FileNotFoundError(errno.ENOENT, "not there"), "/a/python")


def test_a_thread_that_cannot_start_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(NoThreadError, match=r"^cannot start a thread: can't start new thread; allow more"):
        start_thread(threading.Thread())

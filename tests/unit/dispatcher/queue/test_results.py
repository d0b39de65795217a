"""Tests messages from workers: results with their coverage data, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.queue.results import ResultDecoder
from passmuster.model.errors import PassmusterError
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask
from passmuster.wire.broker_messages import StreamEntry, result_kind
from passmuster.wire.codec import RESULT_CODEC
from passmuster.wire.envelope import Envelope, pack_bytes
from passmuster.wire.run_spec import REFUSED_KIND

TASK = TestTask(run_id="run", file_path="test_a.py")
RESULT = TestResult(file_path="test_a.py", status=Status.PASS, coverage_files=("/etc/passwd",))
OURS = Envelope("secret")


def signed(
    result: TestResult, packed: str = "", *, envelope: Envelope = OURS, kind: str = result_kind("run")
) -> StreamEntry:
    body = envelope.sign(kind, RESULT_CODEC.encode(result), packed)
    return StreamEntry("1-0", "finished", "test_a.py", 101, "w1", body)


def test_coverage_data_is_written_under_a_name_that_the_message_does_not_choose(tmp_path: Path) -> None:
    result = ResultDecoder(OURS, tmp_path).result(signed(RESULT, pack_bytes(b"data")), TASK)

    [name] = result.coverage_files
    assert result.status is Status.PASS
    assert Path(name).parent == tmp_path
    assert Path(name).read_bytes() == b"data"


def test_paths_of_the_worker_are_removed(tmp_path: Path) -> None:
    for packed, folder in (("", tmp_path), (pack_bytes(b"data"), None)):
        assert ResultDecoder(OURS, folder).result(signed(RESULT, packed), TASK).coverage_files == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (signed(RESULT, envelope=Envelope("other")), "wrong signature"),
        (signed(RESULT, kind=result_kind("an earlier run")), "is of the kind 'result:an earlier run'"),
        (signed(structs.replace(RESULT, file_path="test_b.py")), "it is that of test_b.py"),
        (signed(structs.replace(RESULT, attempt=2)), "it is that of test_a.py, attempt 2"),
        (
            StreamEntry("1-0", "finished", "test_a.py", 101, "w1", OURS.sign(result_kind("run"), "{}")),
            "has 1 parts",
        ),
        (StreamEntry("1-0", "finished", "test_a.py", 101, "w1", "no message"), "it is not JSON"),
    ],
)
def test_a_message_that_is_not_the_result_of_this_task_is_rejected(entry: StreamEntry, words: str) -> None:
    with pytest.raises(PassmusterError, match=words):
        ResultDecoder(OURS, None).result(entry, TASK)


def test_coverage_data_that_cannot_be_written_loses_the_result(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    result = ResultDecoder(OURS, tmp_path / "file").result(signed(RESULT, pack_bytes(b"data")), TASK)

    assert result.status is Status.LOST
    assert "cannot be written" in result.error


def test_a_refusal_is_decoded_and_one_with_another_secret_says_so() -> None:
    decoder = ResultDecoder(OURS, None)

    ours = StreamEntry("1-0", "refused", "", 0, "w1", OURS.sign(REFUSED_KIND, "another tree"))
    other = StreamEntry("1-0", "refused", "", 0, "w1", Envelope("other").sign(REFUSED_KIND, "another tree"))

    assert decoder.refusal(ours) == "another tree"
    assert "another secret" in decoder.refusal(other)

"""Results from the wire, and the coverage data that comes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.backends.queue_results import RESULT_KIND, ResultOpener
from passmuster.codec import encode_result
from passmuster.envelope import Envelope, EnvelopeError, pack_bytes
from passmuster.result import TestResult
from passmuster.status import Status

RESULT = TestResult(file_path="test_a.py", status=Status.PASS, coverage_files=("/etc/passwd",))


def test_coverage_data_is_put_under_a_name_of_ours(tmp_path: Path) -> None:
    envelope = Envelope("secret")
    body = envelope.seal(RESULT_KIND, encode_result(RESULT), pack_bytes(b"data"))

    [name] = ResultOpener(envelope, tmp_path).open(body).coverage_files

    assert Path(name).parent == tmp_path
    assert Path(name).read_bytes() == b"data"


def test_without_coverage_no_path_of_the_worker_remains(tmp_path: Path) -> None:
    envelope = Envelope("secret")

    for packed, folder in (("", tmp_path), (pack_bytes(b"data"), None)):
        body = envelope.seal(RESULT_KIND, encode_result(RESULT), packed)
        assert ResultOpener(envelope, folder).open(body).coverage_files == ()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_signed_or_of_another_form_is_refused(tmp_path: Path) -> None:
    envelope = Envelope("secret")
    strange = Envelope("other").seal(RESULT_KIND, encode_result(RESULT), "")
    short = envelope.seal(RESULT_KIND, encode_result(RESULT))

    for body, words in ((strange, "wrong signature"), (short, "has 1 parts, 2 were expected")):
        with pytest.raises(EnvelopeError, match=words):
            ResultOpener(envelope, tmp_path).open(body)


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    envelope = Envelope("")
    body = envelope.seal(RESULT_KIND, encode_result(RESULT), pack_bytes(b"data"))

    with pytest.raises(EnvelopeError, match="cannot be written"):
        ResultOpener(envelope, tmp_path / "gone").open(body)

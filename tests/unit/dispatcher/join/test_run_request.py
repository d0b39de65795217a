"""Tests which settings must be equal on all members, and how a difference is reported."""

from __future__ import annotations

from pathlib import Path

from dispatcher.config.model import TestConfig
from dispatcher.config.settings import BY_NAME
from dispatcher.join.run_request import DECIDED_BY_LEADER, make_request, request_digest, request_mismatch
from dispatcher.model.plan import TestFile

FILES = [TestFile(path=f"tests/test_{name}.py", label=name) for name in "ab"]


def test_settings_of_one_machine_make_no_difference(tmp_path: Path) -> None:
    here = make_request(TestConfig(root=tmp_path), FILES)
    there = make_request(
        TestConfig(
            root=Path("/elsewhere"),
            max_workers=7,
            junit_xml=Path("x"),
            python="/usr/bin/python3",
            broker="redis://there",
        ),
        FILES[::-1],
    )

    assert here == there
    assert request_mismatch(here, there, run="r", machine="m") is None


def test_the_leader_decides_only_settings_that_exist() -> None:
    assert BY_NAME.keys() >= DECIDED_BY_LEADER


def test_a_difference_names_both_digests_and_both_values() -> None:
    here = make_request(TestConfig(retries=1), FILES)
    there = make_request(TestConfig(retries=3, enable_coverage=True, max_fail=1, timeout_s=9.0), FILES[:1])

    why = request_mismatch(here, there, run="run 7", machine="box-1")

    assert why is not None
    assert (
        f"(request {request_digest(here)}) than run run 7 (request {request_digest(there)}, of box-1)" in why
    )
    assert "files 2 (" in why
    assert "--retries 1 here, 3 there" in why
    assert "; and 2 more: give every machine the same arguments" in why
    assert "\n" not in why

"""Records of inputs: used as a whole, and never if one of them is not valid."""

from __future__ import annotations

import json

import pytest

from passmuster.model import inputs as limits
from passmuster.model.inputs import FileInputs, Listing
from worker.process.child_report import ChildReport


def fed(*records: object) -> ChildReport:
    report = ChildReport()
    for record in records:
        report.feed(json.dumps(record).encode() + b"\n")
    return report


def of(kind: str, *values: object) -> dict[str, object]:
    return {"inputs": kind, "values": list(values)}


END = {"inputs": "end", "unsure": "", "network": 0}


def test_records_of_each_kind_add_up() -> None:
    report = fed(
        of("read", "a.py", "/etc/hosts"),
        of("read", "b.py"),
        of("absent", "c.ini"),
        of("listed", "data\0*", ".\0*/app.json"),
        of("modules", "package/a"),
        of("path", "."),
        of("names", "json"),
        {"inputs": "end", "unsure": "it forks", "network": 1},
    )

    assert report.stray_text == ""
    assert report.inputs.inputs() == FileInputs(
        read=("a.py", "/etc/hosts", "b.py"),
        absent=("c.ini",),
        listed=(Listing("data", "*"), Listing(".", "*/app.json")),
        modules=("package/a",),
        path=(".",),
        names=("json",),
        unsure="it forks",
        has_network=True,
    )


def test_without_an_end_there_are_no_inputs() -> None:
    assert fed(of("read", "a.py")).inputs.inputs() is None


@pytest.mark.parametrize(
    "record",
    [
        of("other", "a.py"),
        of("read", ""),
        of("read", 1),
        of("read", "../a.py"),
        of("read", "a\0b"),
        of("read", "a" * 5000),
        of("read", "\ud800"),
        of("listed", "data"),
        of("listed", "data\0**"),
        of("listed", "data\0*/../.."),
        of("listed", "data\0/etc/*"),
        of("listed", "data\0" + "*/" * 8 + "*"),
        of("listed", "data\0*\0*"),
        of("names", "a.b"),
    ],
)
def test_an_invalid_record_is_stray_text_and_makes_the_inputs_unknown(record: object) -> None:
    report = fed(of("read", "a.py"), record, END)

    assert report.stray_text
    assert report.inputs.inputs() is None


def test_a_record_after_the_end_makes_the_inputs_unknown() -> None:
    assert fed(END, of("read", "a.py")).inputs.inputs() is None


def test_too_many_inputs_are_dropped_and_the_file_counts_as_unsure() -> None:
    names = [f"n{number}" for number in range(limits.MAX_INPUTS + 1)]

    inputs = fed(of("names", *names[:15000]), of("names", *names[15000:]), END).inputs.inputs()

    assert inputs is not None
    assert inputs.names == ()
    assert "more than" in inputs.unsure

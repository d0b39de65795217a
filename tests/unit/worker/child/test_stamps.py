"""A stamp fits a file only while it is as it was when it was read."""

from __future__ import annotations

import os
import time
from pathlib import Path

from worker.child.passmuster_child_stamps import (
    ABSENT,
    CLOCK_SLACK_NS,
    file_stamp,
    names_digest,
    stamp_of_read,
)


def test_a_file_of_the_same_size_and_times_has_another_stamp(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("A = 1")
    times, stamp = path.stat(), file_stamp(str(path))
    assert file_stamp(str(path)) == stamp

    path.with_suffix(".new").write_text("A = 2")
    path.with_suffix(".new").replace(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert file_stamp(str(path)) != stamp
    path.unlink()
    assert file_stamp(str(path)) == ABSENT


def test_a_file_that_changed_since_its_reader_began_has_a_stamp_that_fits_no_file(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text("A = 1")
    changed_ns = path.stat().st_ctime_ns
    later_ns = changed_ns + CLOCK_SLACK_NS + 1

    assert stamp_of_read(str(path), later_ns) == file_stamp(str(path))
    assert stamp_of_read(str(path), changed_ns) != file_stamp(str(path))
    assert stamp_of_read(str(path.with_name("none")), time.time_ns()) == ABSENT


def test_the_digest_of_a_folder_tells_other_names_but_not_caches(tmp_path: Path) -> None:
    (tmp_path / "one").touch()
    digest = names_digest(str(tmp_path))
    (tmp_path / "__pycache__").mkdir()
    assert names_digest(str(tmp_path)) == digest

    (tmp_path / "two").touch()
    assert names_digest(str(tmp_path)) != digest
    assert names_digest(str(tmp_path / "none")) != names_digest(str(tmp_path))

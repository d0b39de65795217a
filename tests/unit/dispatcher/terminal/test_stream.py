"""A stream without a reader, or without a character in its encoding, does not end a run."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dispatcher.terminal.stream import SafeStream
from passmuster.model.errors import InfrastructureError


def test_characters_that_an_encoding_lacks_are_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    SafeStream(stream).write("🧪 größe\n")
    assert raw.getvalue() == b"\\U0001f9ea gr\\xf6\\xdfe\n"


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    safe = SafeStream(stream)
    stream.close()
    safe.write("x")
    assert safe.is_silent


def test_nothing_is_written_after_the_reader_disappeared() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as stream:
        safe = SafeStream(stream)
        safe.write("first\n")
        assert safe.is_silent
        safe.write("second\n")


def test_a_program_whose_reader_disappears_keeps_its_exit_status_and_prints_no_traceback() -> None:
    program = textwrap.dedent(
        """
        import sys
        from dispatcher.terminal.stream import SafeStream
        safe = SafeStream(sys.stdout)
        while not safe.is_silent:
            safe.write("line\\n" * 1000)
        sys.exit(7)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[4],
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(timeout=30) == 7
    assert errors == b""


def test_a_full_disk_is_reported_once() -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    safe = SafeStream(Full())
    with pytest.raises(InfrastructureError, match="No space left on device"):
        safe.write("x")
    safe.write("y")


def test_a_non_blocking_pipe_loses_nothing() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(writing, "w", encoding="utf-8") as stream:
        SafeStream(stream)
        assert os.get_blocking(writing)
    os.close(reading)

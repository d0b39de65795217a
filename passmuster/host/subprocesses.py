"""Ends processes that this process started."""

from __future__ import annotations

import subprocess


def wait_or_kill(process: subprocess.Popen[bytes], within_s: float) -> None:
    """Wait for a process that was told to end; kill it after `within_s` seconds."""
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

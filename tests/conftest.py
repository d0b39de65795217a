"""What holds for all tests."""

from __future__ import annotations

import signal
from pathlib import Path

# nohup(1), and a shell that starts something in the background, leave these ignored, and that is inherited
# by every program that a test starts; the tests are about what happens when they are not.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_pycollect_makemodule(module_path: Path) -> None:
    """Load the settings of the hypothesis tests before a module defines some.

    A time limit for each example, or for drawing examples, would measure how busy the machine is. Importing
    hypothesis takes 0.3 s, so modules without such tests do not pay for it.
    """
    if b"from hypothesis import" in module_path.read_bytes():
        from hypothesis import HealthCheck, settings

        checks = [HealthCheck.too_slow]
        settings.register_profile("without time limits", deadline=None, suppress_health_check=checks)
        settings.load_profile("without time limits")

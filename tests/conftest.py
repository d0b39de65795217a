"""What holds for all tests."""

from __future__ import annotations

import signal

# nohup(1), and a shell that starts something in the background, leave these ignored, and that is inherited
# by every program that a test starts; the tests are about what happens when they are not.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

"""Tests that signals are counted and never raise."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from dispatcher.engine.signals import watch_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_counted_and_ends_the_wait(number: signal.Signals) -> None:
    woken: list[int] = []
    before = signal.getsignal(number)

    with watch_interrupts(lambda: woken.append(1)) as interrupts:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)

    assert (interrupts.count, woken) == (2, [1, 1])
    assert signal.getsignal(number) is before


def test_the_old_handlers_are_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)

    with pytest.raises(OSError, match="disk"), watch_interrupts():
        raise OSError("disk")

    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_ignored_on_purpose_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with watch_interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupts.count == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_inner_watch_shares_the_count_of_the_outer_one() -> None:
    woken: list[str] = []
    with watch_interrupts(lambda: woken.append("outer")) as outer:
        os.kill(os.getpid(), signal.SIGINT)
        with watch_interrupts(lambda: woken.append("inner")) as inner:
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

    assert inner is outer
    assert outer.count == 3
    assert woken == ["outer", "inner", "inner", "outer"]


@pytest.mark.parametrize("count", [0, 1])
def test_a_process_about_to_end_may_ignore_further_signals(count: int) -> None:
    before = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    try:
        with watch_interrupts(ignored_afterwards=True):
            for _ in range(count):
                os.kill(os.getpid(), signal.SIGINT)
        assert (signal.getsignal(signal.SIGINT) is signal.SIG_IGN) is (count > 0)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def test_outside_the_main_thread_nothing_is_counted_and_nothing_breaks() -> None:
    counts: list[int] = []

    def watch() -> None:
        with watch_interrupts() as interrupts:
            counts.append(interrupts.count)

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()

    assert counts == [0]

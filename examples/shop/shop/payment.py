"""Payment by way of a bank that is sometimes busy."""

from __future__ import annotations

import time
from collections.abc import Callable


class BankBusy(Exception):
    """The bank asks to try again later."""


class PaymentFailed(Exception):
    """The bank did not answer in as many tries as we make."""


def pay(charge: Callable[[int], str], amount: int, *, tries: int = 4, first_wait_s: float = 0.4) -> str:
    """Charge an amount and return the receipt; wait twice as long after each time the bank was busy.

    A refusal of another kind is passed on at once: to try again could charge twice.
    """
    wait_s = first_wait_s
    for attempt in range(1, tries + 1):
        try:
            return charge(amount)
        except BankBusy:
            if attempt < tries:
                time.sleep(wait_s)
                wait_s *= 2
    raise PaymentFailed(f"the bank was busy {tries} times")

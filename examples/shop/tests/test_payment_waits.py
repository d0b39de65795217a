"""The slow file: it really waits as long as the shop would wait for a busy bank, about three seconds."""

import time
import unittest

import context  # noqa: F401 - finds the package
from shop.payment import BankBusy, pay


class PaymentWaitsTest(unittest.TestCase):
    def test_the_bank_gets_more_time_after_each_busy_answer(self):
        asked = []

        def busy_three_times(amount):
            asked.append(time.monotonic())
            if len(asked) < 4:
                raise BankBusy
            return "paid"

        self.assertEqual(pay(busy_three_times, 450), "paid")
        waits = [later - earlier for earlier, later in zip(asked, asked[1:])]
        for waited, least in zip(waits, [0.4, 0.8, 1.6]):
            self.assertGreaterEqual(waited, least)


if __name__ == "__main__":
    unittest.main()

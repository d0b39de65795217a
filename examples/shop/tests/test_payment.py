import unittest

import context  # noqa: F401 - finds the package
from shop.payment import BankBusy, PaymentFailed, pay


class PaymentTest(unittest.TestCase):
    def test_the_receipt_of_the_bank_is_returned(self):
        self.assertEqual(pay(lambda amount: f"paid {amount}", 450), "paid 450")

    def test_a_refusal_is_passed_on_and_not_tried_again(self):
        calls = []

        def refuse(amount):
            calls.append(amount)
            raise PermissionError("card expired")

        with self.assertRaises(PermissionError):
            pay(refuse, 450)
        self.assertEqual(calls, [450])

    def test_a_bank_that_stays_busy_is_given_up(self):
        def busy(amount):
            raise BankBusy

        with self.assertRaisesRegex(PaymentFailed, "busy 3 times"):
            pay(busy, 450, tries=3, first_wait_s=0)

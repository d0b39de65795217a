import unittest
from datetime import date

from context import small_catalogue
from shop.cart import Cart
from shop.pricing import POSTAGE, Voucher, VoucherRefused, quote

SPRING = Voucher("SPRING", percent=20, last_day=date(2026, 3, 31), minimum=10_00)


class VoucherTest(unittest.TestCase):
    def setUp(self):
        self.cart = Cart(small_catalogue())
        self.cart.put("POT", 2)

    def test_a_voucher_takes_its_share_of_goods_and_tax(self):
        plain = quote(self.cart, today=date(2026, 3, 31))
        found = quote(self.cart, today=date(2026, 3, 31), voucher=SPRING)
        self.assertEqual(found.discount, 11_60)
        self.assertEqual(found.tax, plain.tax * 80 // 100)

    def test_postage_is_due_when_the_discount_makes_the_cart_small(self):
        found = quote(self.cart, today=date(2026, 3, 1), voucher=SPRING)
        self.assertEqual(found.total, 58_00 - 11_60 + POSTAGE)

    def test_a_voucher_ends_after_its_last_day(self):
        with self.assertRaisesRegex(VoucherRefused, "ended on 2026-03-31"):
            quote(self.cart, today=date(2026, 4, 1), voucher=SPRING)

    def test_a_voucher_needs_its_minimum(self):
        self.cart.change("POT", 0)
        self.cart.put("TEA")
        with self.assertRaisesRegex(VoucherRefused, "larger cart"):
            quote(self.cart, today=date(2026, 3, 1), voucher=SPRING)

import unittest
from datetime import date

from context import small_catalogue
from shop.cart import Cart
from shop.pricing import FREE_POSTAGE_FROM, POSTAGE, line_price, quote, tax_within

TODAY = date(2026, 3, 1)


class QuantityTest(unittest.TestCase):
    def test_ten_pieces_cost_less_each(self):
        self.assertEqual(line_price(100, 9), 900)
        self.assertEqual(line_price(100, 10), 950)

    def test_fifty_pieces_cost_less_still(self):
        self.assertEqual(line_price(100, 50), 4250)


class TaxTest(unittest.TestCase):
    def test_a_price_holds_the_tax_of_its_category(self):
        self.assertEqual(tax_within(1190, "general"), 190)
        self.assertEqual(tax_within(1070, "books"), 70)

    def test_an_unknown_category_is_taxed_like_general_goods(self):
        self.assertEqual(tax_within(1190, "garden"), 190)


class QuoteTest(unittest.TestCase):
    def setUp(self):
        self.cart = Cart(small_catalogue())

    def test_a_small_cart_pays_postage(self):
        self.cart.put("BOOK")
        self.assertEqual(quote(self.cart, today=TODAY).total, 1200 + POSTAGE)

    def test_a_large_cart_is_sent_for_free(self):
        self.cart.put("POT", 2)
        found = quote(self.cart, today=TODAY)
        self.assertGreaterEqual(found.goods, FREE_POSTAGE_FROM)
        self.assertEqual((found.total, found.postage), (5800, 0))

    def test_an_empty_cart_costs_nothing(self):
        self.assertEqual(quote(self.cart, today=TODAY).total, 0)


if __name__ == "__main__":
    unittest.main()

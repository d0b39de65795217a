import unittest

from context import small_catalogue
from shop.cart import MAX_PIECES, Cart
from shop.catalogue import UnknownProduct


class CartTest(unittest.TestCase):
    def setUp(self):
        self.cart = Cart(small_catalogue())

    def test_pieces_of_one_product_share_a_line(self):
        self.cart.put("TEA")
        self.cart.put("POT")
        self.cart.put("TEA", 2)
        self.assertEqual([(x.product.sku, x.quantity) for x in self.cart.lines()], [("TEA", 3), ("POT", 1)])
        self.assertEqual(len(self.cart), 4)

    def test_changing_to_none_takes_the_line_out(self):
        self.cart.put("TEA", 5)
        self.cart.change("TEA", 0)
        self.assertEqual(self.cart.lines(), [])

    def test_too_many_pieces_leave_the_cart_as_it_was(self):
        self.cart.put("TEA", MAX_PIECES)
        with self.assertRaisesRegex(ValueError, "0 to 100 pieces, not 101"):
            self.cart.put("TEA")
        self.assertEqual(len(self.cart), MAX_PIECES)

    def test_only_what_the_shop_sells_goes_in(self):
        with self.assertRaises(UnknownProduct):
            self.cart.put("CUP")


if __name__ == "__main__":
    unittest.main()

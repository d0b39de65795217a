import unittest
from datetime import date

from context import small_catalogue
from shop.cart import Cart
from shop.orders import OrderBook, OutOfStock
from shop.pricing import quote

TODAY = date(2026, 3, 1)


class StockTest(unittest.TestCase):
    def setUp(self):
        self.book = OrderBook()
        self.addCleanup(self.book.close)
        self.book.restock("TEA", 3)
        self.book.restock("POT", 1)
        self.cart = Cart(small_catalogue())

    def place(self):
        return self.book.place("Ada", self.cart, quote(self.cart, today=TODAY), today=TODAY)

    def test_restocking_adds_up(self):
        self.book.restock("TEA", 4)
        self.assertEqual(self.book.in_stock("TEA"), 7)
        self.assertEqual(self.book.in_stock("CUP"), 0)

    def test_an_order_takes_its_pieces(self):
        self.cart.put("TEA", 2)
        self.place()
        self.assertEqual(self.book.in_stock("TEA"), 1)

    def test_an_order_that_lacks_one_product_takes_nothing_at_all(self):
        self.cart.put("TEA", 2)
        self.cart.put("POT", 2)
        with self.assertRaisesRegex(OutOfStock, "Blue tea pot: 1 left"):
            self.place()
        self.assertEqual((self.book.in_stock("TEA"), self.book.in_stock("POT")), (3, 1))
        self.assertEqual(self.book.sold(), [])

    def test_a_cancelled_order_gives_its_pieces_back(self):
        self.cart.put("TEA", 3)
        self.cart.put("POT", 1)
        self.book.cancel(self.place().id)
        self.assertEqual((self.book.in_stock("TEA"), self.book.in_stock("POT")), (3, 1))

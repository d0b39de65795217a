import unittest
from datetime import date

from context import small_catalogue
from shop.cart import Cart
from shop.orders import OrderBook, OrderClosed
from shop.pricing import quote

TODAY = date(2026, 3, 1)


class OrderTest(unittest.TestCase):
    def setUp(self):
        self.book = OrderBook()
        self.addCleanup(self.book.close)
        self.book.restock("TEA", 10)
        self.cart = Cart(small_catalogue())
        self.cart.put("TEA", 4)

    def place(self):
        return self.book.place("Ada", self.cart, quote(self.cart, today=TODAY), today=TODAY)

    def test_an_order_is_kept_with_its_total(self):
        order = self.place()
        self.assertEqual((order.customer, order.day, order.total), ("Ada", TODAY, 4 * 450 + 490))
        self.assertEqual(self.book.get(order.id), order)

    def test_orders_are_numbered(self):
        self.assertEqual([self.place().id, self.place().id], [1, 2])

    def test_a_sent_order_cannot_be_cancelled(self):
        order = self.place()
        self.book.send(order.id)
        with self.assertRaisesRegex(OrderClosed, "order 1 is sent"):
            self.book.cancel(order.id)
        self.assertEqual(self.book.in_stock("TEA"), 6)

    def test_an_empty_cart_is_no_order(self):
        self.cart.change("TEA", 0)
        with self.assertRaisesRegex(ValueError, "empty"):
            self.place()


if __name__ == "__main__":
    unittest.main()

"""Orders on disk. Each slot of the runner has its own database: files running at once never share one."""

import os
import tempfile
import threading
import unittest
from datetime import date
from pathlib import Path

from context import small_catalogue
from shop.cart import Cart
from shop.orders import OrderBook, OutOfStock
from shop.pricing import quote

SLOT = os.environ.get("PASSMUSTER_SLOT", "0")
DATABASE = Path(tempfile.gettempdir()) / f"shop-test-{os.getuid()}-slot-{SLOT}.sqlite3"
TODAY = date(2026, 3, 1)


class OrderDatabaseTest(unittest.TestCase):
    def setUp(self):
        DATABASE.unlink(missing_ok=True)
        self.addCleanup(DATABASE.unlink)
        self.book = self.open()

    def open(self):
        book = OrderBook(str(DATABASE))
        self.addCleanup(book.close)
        return book

    def order_tea(self, book, pieces):
        cart = Cart(small_catalogue())
        cart.put("TEA", pieces)
        return book.place("Ada", cart, quote(cart, today=TODAY), today=TODAY)

    def test_orders_outlive_the_connection(self):
        self.book.restock("TEA", 5)
        order = self.order_tea(self.book, 2)
        other = self.open()
        self.assertEqual(other.get(order.id), order)
        self.assertEqual(other.in_stock("TEA"), 3)

    def test_customers_at_once_never_sell_a_piece_twice(self):
        self.book.restock("TEA", 10)
        sold = []

        def customer():
            book = OrderBook(str(DATABASE))
            try:
                for _ in range(4):
                    order = self.order_tea(book, 1)
                    sold.append(order.id)
            except OutOfStock:
                pass
            finally:
                book.close()

        threads = [threading.Thread(target=customer) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sorted(sold), list(range(1, 11)))
        self.assertEqual(self.book.in_stock("TEA"), 0)


if __name__ == "__main__":
    unittest.main()

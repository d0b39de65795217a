"""From the supplier's table to the report of the day, through every part."""

import unittest
from datetime import date

import context  # noqa: F401 - finds the package
from shop.cart import Cart
from shop.catalogue import read_csv
from shop.orders import OrderBook
from shop.payment import BankBusy, pay
from shop.pricing import Voucher, quote
from shop.reports import revenue_csv

TODAY = date(2026, 3, 1)


class CheckoutTest(unittest.TestCase):
    def test_a_customer_pays_what_the_report_says(self):
        catalogue = read_csv(["sku,name,price,category", "TEA,Green tea,4.50,food", "POT,Tea pot,29,"])
        book = OrderBook()
        self.addCleanup(book.close)
        for product in catalogue:
            book.restock(product.sku, 20)
        cart = Cart(catalogue)
        cart.put("TEA", 10)
        cart.put("POT", 1)
        price = quote(cart, today=TODAY, voucher=Voucher("ALL", 10, TODAY))
        answers = [BankBusy(), None]
        paid = []

        def bank(amount):
            answer = answers.pop(0)
            if answer:
                raise answer
            paid.append(amount)
            return "receipt"

        order = book.place("Ada", cart, price, today=TODAY)
        self.assertEqual(pay(bank, order.total, first_wait_s=0.01), "receipt")
        book.send(order.id)

        goods = 42_75 + 29_00
        self.assertEqual(paid, [goods - 7_18])
        self.assertEqual(revenue_csv(book.sold()), "day,revenue\n2026-03-01,71.75\n")
        self.assertEqual(book.in_stock("TEA"), 10)


if __name__ == "__main__":
    unittest.main()

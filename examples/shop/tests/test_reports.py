import unittest
from datetime import date

from context import small_catalogue
from shop.reports import best_seller_lines, best_sellers, revenue_by_day, revenue_csv

SOLD = [
    (date(2026, 3, 2), "TEA", 5, 2250),
    (date(2026, 3, 1), "POT", 1, 2900),
    (date(2026, 3, 2), "POT", 4, 11600),
    (date(2026, 3, 2), "BOOK", 1, 1200),
]


class ReportTest(unittest.TestCase):
    def test_revenue_is_added_up_for_each_day_in_order(self):
        self.assertEqual(
            list(revenue_by_day(SOLD).items()), [(date(2026, 3, 1), 2900), (date(2026, 3, 2), 15050)]
        )

    def test_equal_sellers_are_ordered_by_number(self):
        self.assertEqual(best_sellers(SOLD, count=2), [("POT", 5), ("TEA", 5)])

    def test_the_table_is_made_for_spreadsheets(self):
        self.assertEqual(revenue_csv(SOLD), "day,revenue\n2026-03-01,29.00\n2026-03-02,150.50\n")

    def test_the_newsletter_names_products(self):
        self.assertEqual(best_seller_lines(SOLD, small_catalogue())[0], "1. Blue tea pot (5 sold)")

    def test_nothing_sold_is_an_empty_report(self):
        self.assertEqual((revenue_by_day([]), best_sellers([])), ({}, []))


if __name__ == "__main__":
    unittest.main()

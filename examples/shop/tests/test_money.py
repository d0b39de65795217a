import unittest

import context  # noqa: F401 - finds the package
from shop.money import format_price, parse_price, percent_of, split_evenly


class MoneyTest(unittest.TestCase):
    def test_prices_are_read_as_people_write_them(self):
        for text, cents in [("12", 1200), ("12.50", 1250), ("0,05", 5), (" -3.00 ", -300)]:
            with self.subTest(text=text):
                self.assertEqual(parse_price(text), cents)

    def test_what_is_no_price_is_refused(self):
        for text in ["", "12.5", "1.000,00", "free"]:
            with self.subTest(text=text), self.assertRaises(ValueError):
                parse_price(text)

    def test_prices_are_written_with_two_digits_and_separators(self):
        self.assertEqual(format_price(123405), "1,234.05")
        self.assertEqual(format_price(-5), "-0.05")

    def test_half_a_cent_is_rounded_up(self):
        self.assertEqual(percent_of(50, 1), 1)
        self.assertEqual(percent_of(49, 1), 0)

    def test_the_parts_of_a_split_add_up(self):
        self.assertEqual(split_evenly(1000, 3), [334, 333, 333])
        for cents in range(50):
            self.assertEqual(sum(split_evenly(cents, 7)), cents)


if __name__ == "__main__":
    unittest.main()

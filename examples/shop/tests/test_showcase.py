"""Fails when SHOP_SHOW_FAILURE=1 is set, to see how a failure looks."""

import os
import unittest

from context import small_catalogue


class ShowcaseTest(unittest.TestCase):
    def test_the_tea_pot_is_still_on_sale(self):
        price = small_catalogue().get("POT").price
        on_sale = 19_00 if os.environ.get("SHOP_SHOW_FAILURE") == "1" else price
        print(f"the tea pot costs {price} cents")
        self.assertEqual(price, on_sale)


if __name__ == "__main__":
    unittest.main()

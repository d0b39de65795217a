"""The heavy file: it takes about 300 MB, as an import of the supplier's whole catalogue does."""

import unittest

import context  # noqa: F401 - finds the package
from shop.catalogue import read_csv

PRODUCTS = 25_000
DESCRIPTION = "tea " * 2_500


def supplier_rows():
    yield "sku,name,price"
    for number in range(PRODUCTS):
        yield f"S{number:06},{DESCRIPTION}{number},{number % 90 + 1}.99"


class LargeCatalogueTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.catalogue = read_csv(supplier_rows())

    def test_every_row_becomes_a_product(self):
        self.assertEqual(len(self.catalogue), PRODUCTS)

    def test_the_last_product_is_found_by_its_number(self):
        last = self.catalogue.get(f"S{PRODUCTS - 1:06}")
        self.assertTrue(last.name.endswith(str(PRODUCTS - 1)))
        self.assertEqual(last.price, ((PRODUCTS - 1) % 90 + 1) * 100 + 99)


if __name__ == "__main__":
    unittest.main()

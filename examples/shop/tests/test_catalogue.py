import unittest

from context import small_catalogue
from shop.catalogue import Product, UnknownProduct, read_csv


class CatalogueTest(unittest.TestCase):
    def setUp(self):
        self.catalogue = small_catalogue()

    def test_a_product_is_found_by_its_number(self):
        self.assertEqual(self.catalogue.get("POT").name, "Blue tea pot")

    def test_an_unknown_number_is_named(self):
        with self.assertRaisesRegex(UnknownProduct, "no product CUP"):
            self.catalogue.get("CUP")

    def test_a_number_is_given_once(self):
        with self.assertRaisesRegex(ValueError, "TEA is taken"):
            self.catalogue.add(Product("TEA", "Other tea", 100))

    def test_a_search_needs_all_words_in_any_case(self):
        self.assertEqual([p.sku for p in self.catalogue.search("TEA the")], ["BOOK"])
        self.assertEqual([p.sku for p in self.catalogue.search("tea")], ["POT", "TEA", "BOOK"])


class ReadCsvTest(unittest.TestCase):
    def test_a_table_becomes_a_catalogue(self):
        catalogue = read_csv(["sku,name,price,category", "CUP,Cup,3.20,", "JAM,Jam,2,food"])
        self.assertEqual(catalogue.get("CUP"), Product("CUP", "Cup", 320, "general"))
        self.assertEqual(catalogue.get("JAM").category, "food")

    def test_a_wrong_row_is_named_by_its_line(self):
        for row in ["CUP,Cup,cheap", "CUP,Cup,0"]:
            with self.subTest(row=row), self.assertRaisesRegex(ValueError, "^line 3: "):
                read_csv(["sku,name,price", "POT,Pot,1", row])


if __name__ == "__main__":
    unittest.main()

"""What the shop sells."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shop.money import parse_price


class UnknownProduct(LookupError):
    """There is no product with this number."""


@dataclass(frozen=True)
class Product:
    """One thing the shop sells; `category` decides about its tax."""

    sku: str
    name: str
    price: int
    category: str = "general"


class Catalogue:
    """The products, by their number."""

    def __init__(self, products: Iterable[Product] = ()) -> None:
        self._products: dict[str, Product] = {}
        for product in products:
            self.add(product)

    def __len__(self) -> int:
        return len(self._products)

    def __iter__(self) -> Iterator[Product]:
        return iter(self._products.values())

    def add(self, product: Product) -> None:
        """Take a product in; its number must be new and its price above zero."""
        if product.sku in self._products:
            raise ValueError(f"{product.sku} is taken")
        if product.price <= 0:
            raise ValueError(f"{product.sku} must cost something")
        self._products[product.sku] = product

    def get(self, sku: str) -> Product:
        """Return the product with this number."""
        try:
            return self._products[sku]
        except KeyError:
            raise UnknownProduct(f"there is no product {sku}") from None

    def search(self, words: str) -> list[Product]:
        """Return the products whose names hold all words, in alphabetical order."""
        wanted = words.casefold().split()
        found = [p for p in self if all(word in p.name.casefold() for word in wanted)]
        return sorted(found, key=lambda product: product.name)


def read_csv(lines: Iterable[str]) -> Catalogue:
    """Read a catalogue from a table with the columns sku, name, price and, if it likes, category."""
    catalogue = Catalogue()
    for number, row in enumerate(csv.DictReader(lines), start=2):
        try:
            price = parse_price(row["price"])
            catalogue.add(Product(row["sku"], row["name"], price, row.get("category") or "general"))
        except (KeyError, ValueError) as error:
            raise ValueError(f"line {number}: {error}") from error
    return catalogue

"""What a customer is about to buy."""

from __future__ import annotations

from dataclasses import dataclass

from shop.catalogue import Catalogue, Product

MAX_PIECES = 100


@dataclass(frozen=True)
class Line:
    """So many pieces of one product."""

    product: Product
    quantity: int


class Cart:
    """Lines in the order in which their products were first put in."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._quantities: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(self._quantities.values())

    def put(self, sku: str, quantity: int = 1) -> None:
        """Put pieces in, beside those that are there."""
        self.change(sku, self._quantities.get(sku, 0) + quantity)

    def change(self, sku: str, quantity: int) -> None:
        """Set how many pieces there are; none takes the line out."""
        product = self._catalogue.get(sku)
        if not 0 <= quantity <= MAX_PIECES:
            raise ValueError(f"{product.name}: 0 to {MAX_PIECES} pieces, not {quantity}")
        if quantity:
            self._quantities[sku] = quantity
        else:
            self._quantities.pop(sku, None)

    def lines(self) -> list[Line]:
        """Return what is in the cart."""
        return [Line(self._catalogue.get(sku), quantity) for sku, quantity in self._quantities.items()]

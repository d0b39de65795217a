"""Makes the package `shop` importable for tests that are run as plain scripts; holds their sample goods."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from shop.catalogue import Catalogue, Product


def small_catalogue():
    """Return a catalogue with a product of each kind of tax."""
    return Catalogue(
        [
            Product("TEA", "Green tea", 4_50, "food"),
            Product("POT", "Blue tea pot", 29_00),
            Product("BOOK", "The book of tea", 12_00, "books"),
        ]
    )

"""What came in, and what sells best."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from datetime import date

from shop.catalogue import Catalogue
from shop.money import format_price

Sold = Iterable[tuple[date, str, int, int]]


def revenue_by_day(sold: Sold) -> dict[date, int]:
    """Return what came in on each day, the first day first."""
    days: Counter[date] = Counter()
    for day, _, _, price in sold:
        days[day] += price
    return dict(sorted(days.items()))


def best_sellers(sold: Sold, count: int = 3) -> list[tuple[str, int]]:
    """Return the products sold most, with their pieces; at equal numbers in the order of their numbers."""
    pieces: Counter[str] = Counter()
    for _, sku, quantity, _ in sold:
        pieces[sku] += quantity
    return sorted(pieces.items(), key=lambda item: (-item[1], item[0]))[:count]


def revenue_csv(sold: Sold) -> str:
    """Return the revenue of each day as a table for a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["day", "revenue"])
    for day, cents in revenue_by_day(sold).items():
        writer.writerow([day.isoformat(), format_price(cents)])
    return out.getvalue()


def best_seller_lines(sold: Sold, catalogue: Catalogue) -> list[str]:
    """Return the best sellers as lines for the newsletter."""
    ranked = enumerate(best_sellers(sold), start=1)
    return [f"{place}. {catalogue.get(sku).name} ({pieces} sold)" for place, (sku, pieces) in ranked]

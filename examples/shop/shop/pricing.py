"""What a cart costs: quantity discounts, vouchers, tax and postage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Optional

from shop.cart import Cart
from shop.money import percent_of

TAX_PERCENT = {"general": 19, "books": 7, "food": 7}
QUANTITY_DISCOUNTS = ((50, 15), (10, 5))
FREE_POSTAGE_FROM = 50_00
POSTAGE = 4_90


class VoucherRefused(ValueError):
    """The voucher does not hold for this cart or on this day."""


@dataclass(frozen=True)
class Voucher:
    """A discount for a whole cart, until a day and from an amount on."""

    code: str
    percent: int
    last_day: date
    minimum: int = 0

    def discount(self, goods: int, today: date) -> int:
        """Return what it takes off the price of the goods."""
        if today > self.last_day:
            raise VoucherRefused(f"{self.code} ended on {self.last_day}")
        if goods < self.minimum:
            raise VoucherRefused(f"{self.code} needs a larger cart")
        return percent_of(goods, self.percent)


@dataclass(frozen=True)
class Quote:
    """What a cart costs; the tax is part of the goods' price."""

    goods: int
    discount: int
    tax: int
    postage: int

    @property
    def total(self) -> int:
        """Return what the customer pays."""
        return self.goods - self.discount + self.postage


def line_price(unit_price: int, quantity: int) -> int:
    """Return the price of so many pieces, with the discount that the quantity earns."""
    full = unit_price * quantity
    for least, percent in QUANTITY_DISCOUNTS:
        if quantity >= least:
            return full - percent_of(full, percent)
    return full


def tax_within(price: int, category: str) -> int:
    """Return the tax that a price holds."""
    percent = TAX_PERCENT.get(category, TAX_PERCENT["general"])
    return price - (price * 100 + (100 + percent) // 2) // (100 + percent)


def quote(cart: Cart, *, today: date, voucher: Optional[Voucher] = None) -> Quote:
    """Work out what a cart costs today."""
    goods = tax = 0
    for line in cart.lines():
        price = line_price(line.product.price, line.quantity)
        goods += price
        tax += tax_within(price, line.product.category)
    discount = voucher.discount(goods, today) if voucher else 0
    if goods:
        tax = tax * (goods - discount) // goods
    pays_postage = 0 < goods - discount < FREE_POSTAGE_FROM
    return Quote(goods=goods, discount=discount, tax=tax, postage=POSTAGE if pays_postage else 0)

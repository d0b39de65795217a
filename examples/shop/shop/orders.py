"""Orders and stock, in an SQLite database: an order takes all it needs from the stock, or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from shop.cart import Cart
from shop.pricing import Quote, line_price

_SCHEMA = """
create table if not exists stock (sku text primary key, pieces integer not null check (pieces >= 0));
create table if not exists orders (
    id integer primary key, customer text not null, day text not null,
    total integer not null, status text not null default 'placed');
create table if not exists lines (
    order_id integer not null references orders, sku text not null,
    quantity integer not null, price integer not null);
"""


class OutOfStock(Exception):
    """There are not as many pieces left as the order needs."""


class OrderClosed(Exception):
    """The order is sent or cancelled already, or never was."""


@dataclass(frozen=True)
class Order:
    """An order as the database keeps it."""

    id: int
    customer: str
    day: date
    total: int
    status: str


class OrderBook:
    """The orders and the stock they are taken from."""

    def __init__(self, path: str = ":memory:") -> None:
        self._db = sqlite3.connect(path, timeout=10, isolation_level=None)
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Give the database back."""
        self._db.close()

    def restock(self, sku: str, pieces: int) -> None:
        """Add pieces to the stock."""
        self._db.execute(
            "insert into stock values (?, ?)"
            " on conflict (sku) do update set pieces = pieces + excluded.pieces",
            (sku, pieces),
        )

    def in_stock(self, sku: str) -> int:
        """Return how many pieces there are."""
        row = self._db.execute("select pieces from stock where sku = ?", (sku,)).fetchone()
        return row[0] if row else 0

    def place(self, customer: str, cart: Cart, quote: Quote, *, today: date) -> Order:
        """Take a cart's pieces from the stock and write the order down."""
        if not len(cart):
            raise ValueError("the cart is empty")
        with self._transaction():
            cursor = self._db.execute(
                "insert into orders (customer, day, total) values (?, ?, ?)",
                (customer, today.isoformat(), quote.total),
            )
            order_id = cursor.lastrowid
            for line in cart.lines():
                taken = self._db.execute(
                    "update stock set pieces = pieces - ? where sku = ? and pieces >= ?",
                    (line.quantity, line.product.sku, line.quantity),
                )
                if not taken.rowcount:
                    raise OutOfStock(f"{line.product.name}: {self.in_stock(line.product.sku)} left")
                price = line_price(line.product.price, line.quantity)
                self._db.execute(
                    "insert into lines values (?, ?, ?, ?)",
                    (order_id, line.product.sku, line.quantity, price),
                )
        return self.get(order_id)

    def get(self, order_id: int) -> Order:
        """Return an order."""
        columns = "id, customer, day, total, status"
        row = self._db.execute(f"select {columns} from orders where id = ?", (order_id,)).fetchone()
        if row is None:
            raise OrderClosed(f"there is no order {order_id}")
        return Order(row[0], row[1], date.fromisoformat(row[2]), row[3], row[4])

    def cancel(self, order_id: int) -> None:
        """Cancel an order that was not sent, and put its pieces back."""
        with self._transaction():
            self._close(order_id, "cancelled")
            self._db.execute(
                "update stock set pieces = pieces + (select quantity from lines"
                " where order_id = :id and lines.sku = stock.sku)"
                " where sku in (select sku from lines where order_id = :id)",
                {"id": order_id},
            )

    def send(self, order_id: int) -> None:
        """Note that an order left the house."""
        with self._transaction():
            self._close(order_id, "sent")

    def sold(self) -> list[tuple[date, str, int, int]]:
        """Return day, product, pieces and price of every line that was not cancelled."""
        rows = self._db.execute(
            "select day, sku, quantity, price from lines join orders on orders.id = order_id"
            " where status != 'cancelled' order by orders.id, lines.rowid"
        )
        return [(date.fromisoformat(day), sku, quantity, price) for day, sku, quantity, price in rows]

    def _close(self, order_id: int, status: str) -> None:
        done = self._db.execute(
            "update orders set status = ? where id = ? and status = 'placed'", (status, order_id)
        )
        if not done.rowcount:
            raise OrderClosed(f"order {order_id} is {self.get(order_id).status}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

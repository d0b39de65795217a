"""The shop over HTTP, as a WSGI application that speaks JSON.

GET  /products?q=WORDS     the products found
POST /orders               {"customer": NAME, "items": {SKU: PIECES}}
GET  /orders/NUMBER
POST /orders/NUMBER/cancel
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any
from urllib.parse import parse_qs

from shop.cart import Cart
from shop.catalogue import Catalogue, UnknownProduct
from shop.orders import Order, OrderBook, OrderClosed, OutOfStock
from shop.pricing import quote

MAX_BODY_BYTES = 64 * 1024
_STATUS = {
    200: "200 OK",
    201: "201 Created",
    400: "400 Bad Request",
    404: "404 Not Found",
    409: "409 Conflict",
}


class Refused(Exception):
    """A request that gets an error as its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Application:
    """Answers requests from a catalogue and an order book."""

    def __init__(self, catalogue: Catalogue, orders: OrderBook, today: Callable[[], date]) -> None:
        self._catalogue = catalogue
        self._orders = orders
        self._today = today

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        try:
            status, answer = self._route(environ)
        except Refused as refused:
            status, answer = refused.status, {"error": str(refused)}
        except UnknownProduct as error:
            status, answer = 404, {"error": str(error)}
        except (OutOfStock, OrderClosed) as error:
            status, answer = 409, {"error": str(error)}
        body = json.dumps(answer).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(_STATUS[status], headers)
        return [body]

    def _route(self, environ: dict[str, Any]) -> tuple[int, Any]:
        path = [part for part in environ["PATH_INFO"].split("/") if part]
        method = environ["REQUEST_METHOD"]
        if (method, path) == ("GET", ["products"]):
            words = parse_qs(environ.get("QUERY_STRING", "")).get("q", [""])[0]
            return 200, [
                {"sku": p.sku, "name": p.name, "price": p.price} for p in self._catalogue.search(words)
            ]
        if (method, path) == ("POST", ["orders"]):
            return 201, self._place(_read_json(environ))
        if len(path) >= 2 and path[0] == "orders" and path[1].isdigit():
            if method == "POST" and path[2:] == ["cancel"]:
                self._orders.cancel(int(path[1]))
            elif method != "GET" or path[2:]:
                raise Refused(404, "there is nothing here")
            return 200, _described(self._orders.get(int(path[1])))
        raise Refused(404, "there is nothing here")

    def _place(self, wanted: Any) -> Any:
        if not isinstance(wanted, dict) or not wanted.get("customer") or not wanted.get("items"):
            raise Refused(400, "an order needs a customer and items")
        cart = Cart(self._catalogue)
        try:
            for sku, pieces in wanted["items"].items():
                cart.put(sku, pieces)
        except (AttributeError, TypeError, ValueError) as error:
            raise Refused(400, str(error)) from error
        today = self._today()
        order = self._orders.place(wanted["customer"], cart, quote(cart, today=today), today=today)
        return _described(order)


def _described(order: Order) -> Any:
    return {"id": order.id, "customer": order.customer, "total": order.total, "status": order.status}


def _read_json(environ: dict[str, Any]) -> Any:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > MAX_BODY_BYTES:
        raise Refused(400, "the request is too long")
    try:
        return json.loads(environ["wsgi.input"].read(length))
    except ValueError as error:
        raise Refused(400, f"this is no JSON: {error}") from error

import io
import json
import unittest
from datetime import date
from wsgiref.util import setup_testing_defaults

from context import small_catalogue
from shop.api import MAX_BODY_BYTES, Application
from shop.orders import OrderBook


class ApiTest(unittest.TestCase):
    def setUp(self):
        self.orders = OrderBook()
        self.addCleanup(self.orders.close)
        self.orders.restock("TEA", 10)
        self.application = Application(small_catalogue(), self.orders, lambda: date(2026, 3, 1))

    def ask(self, method, path, body=b"", query=""):
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
        environ.update({"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))})
        setup_testing_defaults(environ)
        seen = []
        answer = b"".join(self.application(environ, lambda status, headers: seen.append(status)))
        return int(seen[0].split()[0]), json.loads(answer)

    def order(self, **wanted):
        return self.ask("POST", "/orders", json.dumps(wanted).encode())

    def test_products_are_searched(self):
        status, found = self.ask("GET", "/products", query="q=green")
        self.assertEqual((status, found), (200, [{"sku": "TEA", "name": "Green tea", "price": 450}]))

    def test_an_order_can_be_placed_read_and_cancelled(self):
        status, placed = self.order(customer="Ada", items={"TEA": 2})
        self.assertEqual((status, placed["total"]), (201, 2 * 450 + 490))
        self.assertEqual(self.ask("GET", f"/orders/{placed['id']}"), (200, placed))
        self.assertEqual(self.ask("POST", f"/orders/{placed['id']}/cancel")[1]["status"], "cancelled")
        self.assertEqual(self.orders.in_stock("TEA"), 10)

    def test_what_cannot_be_is_refused_with_its_reason(self):
        for wanted, status, reason in [
            ({"customer": "Ada"}, 400, "needs a customer and items"),
            ({"customer": "Ada", "items": {"TEA": "two"}}, 400, "str"),
            ({"customer": "Ada", "items": {"TEA": 1000}}, 400, "0 to 100 pieces"),
            ({"customer": "Ada", "items": {"CUP": 1}}, 404, "no product CUP"),
            ({"customer": "Ada", "items": {"TEA": 11}}, 409, "10 left"),
        ]:
            with self.subTest(wanted=wanted):
                found, answer = self.order(**wanted)
                self.assertEqual(found, status)
                self.assertIn(reason, answer["error"])

    def test_what_is_no_json_or_too_long_is_refused(self):
        self.assertEqual(self.ask("POST", "/orders", b"{")[0], 400)
        self.assertEqual(self.ask("POST", "/orders", b" " * (MAX_BODY_BYTES + 1))[0], 400)

    def test_there_is_nothing_elsewhere(self):
        for method, path in [("GET", "/"), ("DELETE", "/orders/1"), ("GET", "/orders/one")]:
            with self.subTest(path=path):
                self.assertEqual(self.ask(method, path)[0], 404)


if __name__ == "__main__":
    unittest.main()

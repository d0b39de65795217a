"""The API on a real socket, asked by a real client."""

import json
import threading
import unittest
from datetime import date
from http.client import HTTPConnection
from wsgiref.simple_server import WSGIRequestHandler, make_server

from context import small_catalogue
from shop.api import Application


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args):
        pass


class ServerTest(unittest.TestCase):
    def setUp(self):
        # The port is the machine's choice, so that files running at once never want the same.
        application = Application(small_catalogue(), orders=None, today=lambda: date(2026, 3, 1))
        self.server = make_server("127.0.0.1", 0, application, handler_class=QuietHandler)
        self.addCleanup(self.server.server_close)
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)

    def ask(self, path):
        connection = HTTPConnection("127.0.0.1", self.server.server_port, timeout=10)
        self.addCleanup(connection.close)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), json.loads(answer.read())

    def test_products_are_served_as_json(self):
        status, kind, found = self.ask("/products?q=book%20of")
        self.assertEqual((status, kind), (200, "application/json"))
        self.assertEqual([product["sku"] for product in found], ["BOOK"])

    def test_an_unknown_page_is_an_answer_too(self):
        self.assertEqual(self.ask("/nowhere")[0], 404)


if __name__ == "__main__":
    unittest.main()

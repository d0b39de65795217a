"""Makes the package `shop` and the sample goods importable for the integration tests."""

import importlib.util
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS.parent))
_spec = importlib.util.spec_from_file_location("shop_test_context", TESTS / "context.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
small_catalogue = _module.small_catalogue

"""Uploaded source trees on a worker: kept, laid down in a folder, and made ready for tests."""

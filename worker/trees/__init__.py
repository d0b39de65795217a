"""Uploaded source trees on a worker: caches them, materializes them, and prepares them for tests."""

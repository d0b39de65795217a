"""Measures the runner on suites that are heavy, hostile, tiny or foreign, beside what it replaces."""

"""Metrics in Prometheus' format, over HTTP or in a file."""

"""Streams, colours and files that output is written to."""

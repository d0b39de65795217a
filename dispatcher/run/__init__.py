"""One run from its first file to its verdict."""

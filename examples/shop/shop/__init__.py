"""A small shop: what it sells, at which price, to whom, and what came of it."""

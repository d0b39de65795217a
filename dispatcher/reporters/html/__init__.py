"""The HTML report: one page that needs no other file."""

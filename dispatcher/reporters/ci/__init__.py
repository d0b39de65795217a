"""The output for a CI: log commands, annotations, and a summary page."""

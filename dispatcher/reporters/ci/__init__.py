"""What a CI shows of a run: log marks, annotations, and a summary page."""

"""What a CI shows of a run beside its log's lines: annotations, folded output, a summary page."""

"""What is known of files and runs, as values and texts, without running anything."""

"""What each file read when it last passed, and which files a change can affect."""

"""One run from its first file to its verdict, and the seam to where files are executed."""

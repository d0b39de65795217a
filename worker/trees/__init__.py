"""The trees of runs that ship their files: kept, laid down, and made ready on a worker."""

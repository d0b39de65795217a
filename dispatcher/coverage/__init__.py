"""Coverage data of all files combined into one report."""

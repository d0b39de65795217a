"""Coverage data of many files made into one report."""

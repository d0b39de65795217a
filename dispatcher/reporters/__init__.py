"""The reporters: each makes a report for people or programs from events alone."""

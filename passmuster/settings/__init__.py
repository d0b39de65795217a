"""What all our programs use to read their options."""

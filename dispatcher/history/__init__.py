"""What earlier runs measured of each file."""

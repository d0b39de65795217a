"""One run from its first file to its verdict, and the interface to where files execute."""
